package config

import (
	"fmt"

	"github.com/spf13/pflag"
)

// Flags are the settings that were given on the command line.
type Flags struct {
	file  string
	given []givenFlag
}

type givenFlag struct {
	key   string
	texts []string
}

// AddFlags adds --config and a flag for every setting to fs. What they are set
// to is read by [Load], after fs was parsed.
func AddFlags(fs *pflag.FlagSet) *Flags {
	f := new(Flags)
	fs.StringVar(&f.file, "config", "", "the YAML file with the settings")
	for _, s := range allSettings() {
		flag := fs.VarPF(&flagValue{flags: f, setting: s}, s.Flag, "", fmt.Sprintf("%s of docs/config.md", s.Key))
		if s.Bool {
			flag.NoOptDefVal = "true"
		}
	}
	return f
}

// flagValue notes what a flag was set to; a list may be given several times.
type flagValue struct {
	flags   *Flags
	setting Setting
}

func (v *flagValue) Set(text string) error {
	texts := []string{text}
	if v.setting.List {
		texts = splitList(text)
	}
	for i := range v.flags.given {
		if g := &v.flags.given[i]; g.key == v.setting.Key {
			if v.setting.List {
				texts = append(g.texts, texts...)
			}
			g.texts = texts
			return nil
		}
	}
	v.flags.given = append(v.flags.given, givenFlag{v.setting.Key, texts})
	return nil
}

func (v *flagValue) String() string { return v.setting.Default }

// Type is the word that the help shows for the value.
func (v *flagValue) Type() string {
	switch {
	case v.setting.Bool:
		return "bool"
	case v.setting.List:
		return "list"
	}
	return "value"
}

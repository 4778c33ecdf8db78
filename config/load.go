package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// loader gathers a configuration and everything that is wrong with it.
type loader struct {
	config Config
	origin map[string]string // key: where its value was set, such as "beffroi.yaml:3"
	errs   []error
}

// Load reads the configuration: what the flags set wins over what environ (in
// the form of os.Environ) sets, and that over the file that --config or
// BEFFROI_CONFIG names. All mistakes are returned at once, each with its place.
func Load(flags *Flags, environ []string) (Config, error) {
	l := loader{config: Default(), origin: make(map[string]string)}
	env := environment(environ)
	file := env[envPrefix+"CONFIG"]
	if flags != nil && flags.file != "" {
		file = flags.file
	}
	if file != "" {
		l.readFile(file)
	}
	l.readEnvironment(env)
	if flags != nil {
		for _, given := range flags.given {
			s, _ := lookup(given.key)
			l.assign(s, given.texts, "--"+s.Flag)
		}
	}
	l.develop()
	for _, m := range l.config.mistakes() {
		l.mistake(m.key, l.origin[m.key], m.err)
	}
	return l.config, errors.Join(l.errs...)
}

func environment(environ []string) map[string]string {
	env := make(map[string]string)
	for _, line := range environ {
		if name, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}
	return env
}

// envTypos is how far an unknown variable may be from a known one to be taken
// for a mistake. The rest is let pass: orchestrators put variables of their own
// (BEFFROI_SERVICE_HOST) into every container.
const envTypos = 2

func (l *loader) readEnvironment(env map[string]string) {
	var names []string
	for _, s := range allSettings() {
		names = append(names, s.Env)
		value, ok := env[s.Env]
		if !ok {
			continue
		}
		texts := []string{value}
		if s.List {
			texts = splitList(value)
		}
		l.assign(s, texts, s.Env)
	}
	for name := range env {
		if slices.Contains(names, name) || name == envPrefix+"CONFIG" {
			continue
		}
		if near := nearest(name, names, envTypos); near != "" {
			l.errs = append(l.errs, fmt.Errorf("%s: unknown variable; did you mean %s?", name, near))
		}
	}
}

func (l *loader) assign(s Setting, texts []string, origin string) {
	l.origin[s.Key] = origin
	if err := s.assign(&l.config, texts); err != nil {
		l.mistake(s.Key, origin, err)
	}
}

// mistake notes what is wrong with a setting and where it was set.
func (l *loader) mistake(key, origin string, err error) {
	switch {
	case origin == "":
		l.errs = append(l.errs, fmt.Errorf("%s: %w", key, err))
	case strings.HasPrefix(origin, "--"): // says the key by itself
		l.errs = append(l.errs, fmt.Errorf("%s: %w", origin, err))
	default:
		l.errs = append(l.errs, fmt.Errorf("%s: %s: %w", origin, key, err))
	}
}

// develop turns the defaults into those of development.
func (l *loader) develop() {
	c := &l.config
	if !c.Development {
		return
	}
	if l.origin["federation.listen"] == "" {
		c.Federation.Listen = "127.0.0.1" + c.Federation.Listen
	}
	if l.origin["federation.allow_ranges"] == "" {
		c.Federation.AllowRanges = []netip.Prefix{
			netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
		}
	}
}

// maxFileBytes bounds a configuration file: the largest sensible one is a
// hundredth of it.
const maxFileBytes = 1 << 20

func (l *loader) readFile(name string) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxFileBytes {
		err = fmt.Errorf("%s is longer than %d bytes", name, maxFileBytes)
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(name)
	}
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("read configuration: %w", err))
		return
	}
	l.readYAML(name, raw)
}

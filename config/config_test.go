package config_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"beffroi/config"
)

// load runs Load on a file, an environment and a command line.
func load(t *testing.T, file string, environ, args []string) (config.Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags := config.AddFlags(fs)
	if file != "" {
		name := filepath.Join(t.TempDir(), "beffroi.yaml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", name)
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return config.Load(flags, environ)
}

func TestDefaultIsReadyToUse(t *testing.T) {
	t.Parallel()
	got, err := load(t, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := config.Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
	cert, key, own := got.TLSFiles()
	for got, want := range map[string]string{
		got.DatabaseSource(): "data/beffroi.db", got.PolicyFile(): "data/policy.yaml", got.SigningKeyFile(): "data/signing.key",
		got.MediaDir(): "data/media", cert: "data/tls.crt", key: "data/tls.key", got.ClientURL(): "https://localhost",
	} {
		if got != filepath.FromSlash(want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if !own || got.IsPostgres() {
		t.Errorf("own %v, PostgreSQL %v", own, got.IsPostgres())
	}
}

func TestFlagsWinOverEnvironmentOverFile(t *testing.T) {
	t.Parallel()
	file := `
server_name: file.example
data: /file
memory: 64MB
client: {listen: "127.0.0.1:1"}
federation:
  timeout: 5s
  allow_ranges: [10.0.0.0/8, "fd00::/8"]
tls:
  # all of it is a comment
smtp:
  host: localhost
  port: 25
  from: Beffroi <noreply@file.example>
  tls: none
`
	environ := []string{"BEFFROI_DATA=/env", "BEFFROI_CLIENT_LISTEN=127.0.0.1:2", "BEFFROI_CLIENT_TRUSTED_PROXIES=10.0.0.1/32, 10.0.0.2/32",
		"BEFFROI_SERVICE_HOST=10.1.1.1", "PATH=/bin"}
	args := []string{"--client-listen=127.0.0.1:3", "--federation-allow-ranges", "192.168.0.0/16",
		"--federation-allow-ranges=172.16.0.0/12", "--log-format", "json"}
	got, err := load(t, file, environ, args)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.ServerName, want.Data, want.Memory = "file.example", "/env", 64<<20
	want.Client.Listen, want.Federation.Timeout, want.Log.Format = "127.0.0.1:3", 5*time.Second, "json"
	want.Client.TrustedProxies = prefixes("10.0.0.1/32", "10.0.0.2/32")
	want.Federation.AllowRanges = prefixes("192.168.0.0/16", "172.16.0.0/12")
	want.SMTP = config.SMTP{Host: "localhost", Port: 25, From: "Beffroi <noreply@file.example>", TLS: "none"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func TestDevelopmentStaysOnLoopback(t *testing.T) {
	t.Parallel()
	got, err := load(t, "", nil, []string{"--development", "--registration-secret=s"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Federation.Listen != "127.0.0.1:8448" || len(got.Federation.AllowRanges) != 2 || got.ClientURL() != "http://127.0.0.1:8008" {
		t.Errorf("%+v, clients at %s", got.Federation, got.ClientURL())
	}
	for _, listen := range []string{":8448", "0.0.0.0:8448", "10.0.0.1:8448", "matrix.example:8448"} {
		_, err := load(t, "development: true", nil, []string{"--federation-listen", listen})
		if err == nil || !strings.Contains(err.Error(), "--federation-listen: ") {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, listen := range []string{"[::1]:8448", "localhost:0"} {
		if _, err := load(t, "development: true", nil, []string{"--federation-listen", listen}); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestMistakesAreToldAtOnceWithTheirPlace(t *testing.T) {
	t.Parallel()
	file := `server_name: "*.example"
smtp:
  prot: 25
  host: mail.example
  from: nobody
  tls: [a]
  username: {a: b}
fedration:
  listen: x
zzz: 1
memory: lots
log: text
development: yes
`
	environ := []string{"BEFFROI_SMTP_PORT=70000", "BEFFROI_DATABSE=x", "BEFFROI_LOG_LEVEL=loud"}
	args := []string{"--client-listen=8008", "--federation-timeout=soon", "--registration-secret=s", "--tls-cert=c.pem"}
	_, err := load(t, file, environ, args)
	if err == nil {
		t.Fatal("no mistake found")
	}
	for _, want := range []string{
		`beffroi.yaml:1: server_name: "*.example" is not a server name`,
		"beffroi.yaml:3: smtp.prot: unknown setting; did you mean smtp.port?",
		`beffroi.yaml:5: smtp.from: "nobody" is not an e-mail address`,
		"beffroi.yaml:6: smtp.tls: takes one value, not a list",
		"beffroi.yaml:7: smtp.username: must be a plain value",
		"beffroi.yaml:8: fedration: unknown setting; did you mean federation?",
		"beffroi.yaml:10: zzz: unknown setting",
		`beffroi.yaml:11: memory: "lots" is not a size such as 128MB`,
		"beffroi.yaml:12: log: must be a list of names and values",
		`beffroi.yaml:13: development: "yes" is neither true nor false`,
		"BEFFROI_SMTP_PORT: smtp.port: 70000 is not a port",
		"BEFFROI_DATABSE: unknown variable; did you mean BEFFROI_DATABASE?",
		`BEFFROI_LOG_LEVEL: log.level: "loud" is none of [debug info warn error]`,
		`--client-listen: "8008" is not an address such as 127.0.0.1:8008`,
		`--federation-timeout: "soon" is not a time such as 30s or 5m`,
		"--registration-secret: is only allowed with development",
		"tls.key: is missing: tls.cert is set",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("lacks %s", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, want string }{
		"empty":           {"\n", ""},
		"comment":         {"# nothing\n", ""},
		"syntax":          {"data: x\nsmtp: [", "beffroi.yaml:2"},
		"twice":           {"data: x\nlog: {level: info}\ndata: y\n", "beffroi.yaml:3"},
		"two documents":   {"data: x\n---\ndata: y\n", "only one document"},
		"list":            {"- data\n", "the file: must be a list of names and values"},
		"quoted name":     {`"data": x`, ""},
		"name not a word": {"? &a data\n: x\n", "must be a word"},
		"no value":        {"data:\n", ""},
		"block":           {"data: |-\n  x\n", ""},
		"nested in list":  {"federation: {allow_ranges: [{a: b}]}\n", "must be a list of plain values"},
		"bad list":        {"federation: {allow_ranges: [10.0.0.0]}\n", "federation.allow_ranges: netip.ParsePrefix"},
		"a room version":  {"room_version: 10\n", ""},
		"no room version": {"room_version: 99\n", "room_version"},
		"too long":        {"# " + strings.Repeat("x", 1<<20), "longer than 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tc.file, nil, nil)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
	if _, err := config.Load(nil, []string{"BEFFROI_CONFIG=/nowhere.yaml"}); err == nil {
		t.Error("a missing file is no mistake")
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"PostgreSQL":      {func(c *config.Config) { c.Database = "postgres://u@h/db" }, ""},
		"bad PostgreSQL":  {func(c *config.Config) { c.Database = "postgres://u:se%cret@h/db" }, "database: is not a URL"},
		"no data":         {func(c *config.Config) { c.Data = "" }, "data: is empty"},
		"public URL":      {func(c *config.Config) { c.PublicURL = "matrix.example" }, `public_url: "matrix.example" is not`},
		"memory":          {func(c *config.Config) { c.Memory = 1 << 20 }, "memory: must be 0 or at least 8MB"},
		"same address":    {func(c *config.Config) { c.Metrics.Listen = c.Client.Listen }, "metrics.listen: 127.0.0.1:8008 is the address of client.listen"},
		"no metrics":      {func(c *config.Config) { c.Metrics.Listen = "" }, ""},
		"no client":       {func(c *config.Config) { c.Client.Listen = "" }, "client.listen: "},
		"port":            {func(c *config.Config) { c.Client.Listen = ":65536" }, "client.listen: "},
		"proxy":           {func(c *config.Config) { c.Federation.Proxy = "socks5://x" }, "federation.proxy: "},
		"retention":       {func(c *config.Config) { c.Retention.Default = time.Minute }, "retention.default: must be 0 or at least 1h0m0s"},
		"retention range": {func(c *config.Config) { c.Retention.Min, c.Retention.Max = 3*time.Hour, 2*time.Hour }, "retention.min: is more than retention.max"},
		"timeout":         {func(c *config.Config) { c.Federation.Timeout = time.Hour }, "federation.timeout: must be between 1s and 10m0s"},
		"key only":        {func(c *config.Config) { c.TLS.Key = "k" }, "tls.cert: is missing"},
		"own certificate": {func(c *config.Config) { c.TLS = config.TLS{Cert: "c", Key: "k"} }, ""},
		"password in the clear": {func(c *config.Config) {
			c.SMTP = config.SMTP{Host: "mail.example", Port: 25, From: "a@b.example", TLS: "none", Username: "u", PasswordFile: "f"}
		}, "smtp.tls: no password is sent to mail.example"},
		"user without password": {func(c *config.Config) {
			c.SMTP = config.SMTP{Host: "mail.example", Port: 25, From: "a@b.example", TLS: "starttls", Username: "u"}
		}, "smtp.password_file: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := config.Default()
			tc.change(&c)
			err := c.Check()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "cret") {
				t.Error("the password is shown")
			}
		})
	}
	c := config.Default()
	c.TLS, c.PublicURL, c.Policy, c.Database = config.TLS{Cert: "c", Key: "k"}, "https://m.example/", "p", "d.db"
	if cert, key, own := c.TLSFiles(); cert != "c" || key != "k" || own {
		t.Errorf("%s %s %v", cert, key, own)
	}
	if c.ClientURL() != "https://m.example" || c.PolicyFile() != "p" || c.DatabaseSource() != "d.db" {
		t.Errorf("%s %s %s", c.ClientURL(), c.PolicyFile(), c.DatabaseSource())
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{
		"0B": 0, "7B": 7, "1KB": 1 << 10, "128MB": 128 << 20, "3gb": 3 << 30, "1025KB": 1025 << 10, "2 MB": 2 << 20,
		"": -1, "7": -1, "-1MB": -1, "MB": -1, "1.5MB": -1, "9999999999GB": -1,
	} {
		var got config.Size
		err := got.UnmarshalText([]byte(text))
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
		var again config.Size
		if written, _ := got.MarshalText(); again.UnmarshalText(written) != nil || again != got {
			t.Errorf("%s becomes %d", written, again)
		}
	}
}

func TestSettingsHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	flags, envs := map[string]bool{"config": true}, map[string]bool{"BEFFROI_CONFIG": true}
	for _, s := range config.Settings() {
		if flags[s.Flag] || envs[s.Env] {
			t.Errorf("%s is not the only one called %s", s.Key, s.Flag)
		}
		flags[s.Flag], envs[s.Env] = true, true
	}
	for _, flag := range []string{"data", "server-name", "client-listen", "federation-listen", "metrics-listen", "tls-cert", "tls-key",
		"trust-ca", "database", "policy", "development", "registration-secret", "log-format", "log-level"} {
		if !flags[flag] {
			t.Errorf("there is no --%s", flag)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add("data: x\nsmtp: {port: 25}\n")
	f.Add("a: &a [*a]\n? b\n: |\n  c\n")
	f.Fuzz(func(t *testing.T, file string) {
		if len(file) > 1<<12 {
			return
		}
		_, _ = load(t, file, nil, nil) // must return
	})
}

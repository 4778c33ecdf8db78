package homeserver

import (
	"strings"
	"testing"
)

func TestCheckTarget(t *testing.T) {
	t.Parallel()
	const foreign, malformed = "is not this machine", "not a base URL"
	for base, want := range map[string]string{
		"http://127.0.0.1:8008":          "",
		"http://127.8.8.8":               "",
		"https://[::1]:8448/":            "",
		"http://[::ffff:127.0.0.1]:8008": "",
		"http://LOCALHOST:8008/matrix":   "",
		"https://matrix.org":             foreign,
		"http://192.168.0.1:8008":        foreign,
		"http://0.0.0.0:8008":            foreign,
		"http://127.0.0.1.evil.example":  foreign,
		"http://localhost.evil.example":  foreign,
		"http://[::ffff:192.0.2.1]:8008": foreign,
		"http://0x7f000001:8008":         foreign,
		"127.0.0.1:8008":                 malformed,
		"localhost:8008":                 malformed,
		"ftp://127.0.0.1":                malformed,
		"http://":                        malformed,
		"http://127.0.0.1@evil.example":  malformed,
		"http://user:secret@127.0.0.1":   malformed,
		"http://127.0.0.1:8008?a=b":      malformed,
		"http://127.0.0.1:8008#f":        malformed,
		"http://127.0.0.1:8008\n":        malformed,
		"":                               malformed,
	} {
		t.Run(base, func(t *testing.T) {
			t.Parallel()
			_, err := CheckTarget(base, false)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("got %v, want %q", err, want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Error("the password is told")
			}
			if _, err := CheckTarget(base, true); (err != nil) != (want == malformed) {
				t.Errorf("an owner gets %v", err)
			}
		})
	}
}

// A name that means this machine at first and another one later must not
// move the load there.
func TestDialStaysHere(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"127.0.0.1:80": true, "[::1]:80": true, "192.0.2.1:80": false, "[2001:db8::1]:80": false, "10.0.0.1:80": false, "nonsense": false,
	} {
		if err := onlyLoopback("tcp", address, nil); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestParseMetrics(t *testing.T) {
	t.Parallel()
	got := parseMetrics([]byte(`# HELP a what it is
# TYPE a counter
a{route="/x } y",status="200"} 3
a{route="/z"} 4 1700000000000
process_cpu_seconds_total 1.5e+1
d_seconds_bucket{le="0.5"} 9
d_seconds_sum 2.25
broken{
nothing
`))
	want := map[string]float64{"a": 7, "process_cpu_seconds_total": 15, "d_seconds_sum": 2.25}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %v, want %v", name, got[name], v)
		}
	}
}

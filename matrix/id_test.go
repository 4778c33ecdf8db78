package matrix_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"beffroi/matrix"
)

func TestParseServerName(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in, host, port string
		ip, bad        bool
	}{
		"domain":           {in: "matrix.example", host: "matrix.example"},
		"domain and port":  {in: "matrix.example:8448", host: "matrix.example", port: "8448"},
		"one label":        {in: "localhost", host: "localhost"},
		"upper case":       {in: "Matrix.Example", host: "Matrix.Example"},
		"A-label":          {in: "xn--mnistre-cya.example", host: "xn--mnistre-cya.example"},
		"IPv4":             {in: "192.0.2.1", host: "192.0.2.1", ip: true},
		"IPv4 and port":    {in: "192.0.2.1:1", host: "192.0.2.1", port: "1", ip: true},
		"IPv6":             {in: "[2001:db8::1]", host: "[2001:db8::1]", ip: true},
		"IPv6 and port":    {in: "[2001:db8::1]:65535", host: "[2001:db8::1]", port: "65535", ip: true},
		"IPv4 in IPv6":     {in: "[::ffff:192.0.2.1]", host: "[::ffff:192.0.2.1]", ip: true},
		"longest":          {in: strings.Repeat("a", 253), host: strings.Repeat("a", 253)},
		"too long":         {in: strings.Repeat("a", 254), bad: true},
		"empty":            {in: "", bad: true},
		"only a port":      {in: ":8448", bad: true},
		"empty port":       {in: "matrix.example:", bad: true},
		"port too great":   {in: "matrix.example:65536", bad: true},
		"port too long":    {in: "matrix.example:000001", bad: true},
		"signed port":      {in: "matrix.example:+1", bad: true},
		"two ports":        {in: "matrix.example:1:2", bad: true},
		"bare IPv6":        {in: "2001:db8::1", bad: true},
		"IPv6 with zone":   {in: "[fe80::1%25eth0]", bad: true},
		"IPv6 open":        {in: "[2001:db8::1", bad: true},
		"IPv6 then text":   {in: "[2001:db8::1]x", bad: true},
		"IPv6 empty port":  {in: "[2001:db8::1]:", bad: true},
		"IPv4 in brackets": {in: "[192.0.2.1]", bad: true},
		"empty brackets":   {in: "[]", bad: true},
		"nested brackets":  {in: "[[::1]]", bad: true},
		"space":            {in: "matrix example", bad: true},
		"underscore":       {in: "matrix_example", bad: true},
		"slash":            {in: "matrix.example/x", bad: true},
		"user information": {in: "u@matrix.example", bad: true},
		"wildcard":         {in: "*.example", bad: true},
		"not ASCII":        {in: "ministère.example", bad: true},
		"NUL":              {in: "matrix\x00.example", bad: true},
		"line feed":        {in: "matrix.example\n", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := matrix.ParseServerName(tc.in)
			if tc.bad {
				refused(t, string(got), err)
				return
			}
			if err != nil || string(got) != tc.in || got.Host() != tc.host || got.Port() != tc.port || got.IsIP() != tc.ip {
				t.Errorf("%q, %v: host %q, port %q, IP %v", got, err, got.Host(), got.Port(), got.IsIP())
			}
			if want := strings.ToLower(tc.in); string(got.Normalise()) != want {
				t.Errorf("normalised %q, want %q", got.Normalise(), want)
			}
		})
	}
}

func TestParseUserID(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in, local, server string
		compliant, bad    bool
	}{
		"plain":             {in: "@alice:x.example", local: "alice", server: "x.example", compliant: true},
		"port":              {in: "@alice:x.example:8448", local: "alice", server: "x.example:8448", compliant: true},
		"IPv6":              {in: "@alice:[::1]:8448", local: "alice", server: "[::1]:8448", compliant: true},
		"strict characters": {in: "@a-._=/+0:x", local: "a-._=/+0", server: "x", compliant: true},
		"upper case":        {in: "@Alice:x", local: "Alice", server: "x", compliant: true},
		"printable":         {in: "@!~*:x", local: "!~*", server: "x", compliant: true},
		"space":             {in: "@a b:x", local: "a b", server: "x"},
		"not ASCII":         {in: "@éloïse:x", local: "éloïse", server: "x"},
		"control character": {in: "@a\n:x", local: "a\n", server: "x"},
		"empty localpart":   {in: "@:x", local: "", server: "x"},
		"longest":           {in: "@" + strings.Repeat("a", 252) + ":x", local: strings.Repeat("a", 252), server: "x", compliant: true},
		"too long":          {in: "@" + strings.Repeat("a", 253) + ":x", bad: true},
		"bytes, not runes":  {in: "@" + strings.Repeat("é", 127) + ":x", bad: true},
		"empty":             {in: "", bad: true},
		"sigil only":        {in: "@", bad: true},
		"other sigil":       {in: "!alice:x", bad: true},
		"no server":         {in: "@alice", bad: true},
		"empty server":      {in: "@alice:", bad: true},
		"bad server":        {in: "@alice:b ad", bad: true},
		"NUL":               {in: "@a\x00b:x", bad: true},
		"not UTF-8":         {in: "@a\xffb:x", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := matrix.ParseUserID(tc.in)
			if tc.bad {
				refused(t, string(got), err)
				return
			}
			if err != nil || string(got) != tc.in || got.Localpart() != tc.local || string(got.Server()) != tc.server {
				t.Errorf("%q, %v: %q at %q", got, err, got.Localpart(), got.Server())
			}
			if got.Compliant() != tc.compliant {
				t.Errorf("compliant: %v, want %v", got.Compliant(), tc.compliant)
			}
		})
	}
}

func TestParseRoomAlias(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in, local, server string
		bad               bool
	}{
		"plain":     {in: "#salle:x.example", local: "salle", server: "x.example"},
		"any text":  {in: "#salle été/ #1:x", local: "salle été/ #1", server: "x"},
		"empty":     {in: "#:x", local: "", server: "x"},
		"longest":   {in: "#" + strings.Repeat("a", 252) + ":x", local: strings.Repeat("a", 252), server: "x"},
		"too long":  {in: "#" + strings.Repeat("a", 253) + ":x", bad: true},
		"sigil":     {in: "!salle:x", bad: true},
		"no server": {in: "#salle", bad: true},
		"NUL":       {in: "#a\x00:x", bad: true},
		"not UTF-8": {in: "#\xc3\x28:x", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := matrix.ParseRoomAlias(tc.in)
			if tc.bad {
				refused(t, string(got), err)
				return
			}
			if err != nil || string(got) != tc.in || got.Localpart() != tc.local || string(got.Server()) != tc.server {
				t.Errorf("%q, %v: %q at %q", got, err, got.Localpart(), got.Server())
			}
		})
	}
}

func TestParseOpaqueIDs(t *testing.T) {
	t.Parallel()
	room := func(s string) (string, error) { id, err := matrix.ParseRoomID(s); return string(id), err }
	event := func(s string) (string, error) { id, err := matrix.ParseEventID(s); return string(id), err }
	for name, tc := range map[string]struct {
		parse func(string) (string, error)
		in    string
		ok    bool
	}{
		"room of version 1":   {room, "!abc:x.example", true},
		"room of version 12":  {room, "!_9Pa6R02JAYz85odb3UWKcB2gwMxfhmW4wXAohO3miY", true},
		"longest room":        {room, "!" + strings.Repeat("a", 254), true},
		"room too long":       {room, "!" + strings.Repeat("a", 255), false},
		"room sigil only":     {room, "!", false},
		"empty room":          {room, "", false},
		"room alias":          {room, "#abc:x", false},
		"room with NUL":       {room, "!a\x00:x", false},
		"room not UTF-8":      {room, "!\xff:x", false},
		"event of version 1":  {event, "$1:x.example", true},
		"event of version 3":  {event, "$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk", true},
		"event of version 4":  {event, "$Rqnc-F-dvnEYJTyHq_iKxU2bZ1CI92-kuZq3a5lr5Zg", true},
		"longest event":       {event, "$" + strings.Repeat("é", 127), true},
		"event too long":      {event, "$" + strings.Repeat("a", 255), false},
		"event without sigil": {event, "abc", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.parse(tc.in)
			if !tc.ok {
				refused(t, got, err)
			} else if err != nil || got != tc.in {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	for id, want := range map[matrix.EventID]matrix.ServerName{"$1:x.example:8448": "x.example:8448", "$abc": ""} {
		if got := id.Server(); got != want {
			t.Errorf("%s is of %q, want %q", id, got, want)
		}
	}
}

func TestParseKeyID(t *testing.T) {
	t.Parallel()
	for in, ok := range map[string]bool{
		"ed25519:a1": true, "ed25519:A_z_9": true, "ed25519:policy_server": true, "x:" + strings.Repeat("a", 253): true,
		"": false, "ed25519": false, "ed25519:": false, ":a1": false, "ed25519:a-1": false, "ed25519:a:1": false,
		"ed25519:é": false, "x:" + strings.Repeat("a", 254): false,
	} {
		got, err := matrix.ParseKeyID(in)
		if !ok {
			refused(t, string(got), err)
			continue
		}
		if algorithm, name, _ := strings.Cut(in, ":"); err != nil || got.Algorithm() != algorithm || got.Name() != name {
			t.Errorf("%q, %v: %q and %q", got, err, got.Algorithm(), got.Name())
		}
	}
}

func TestValidLocalpart(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"alice": true, "prenom.nom-interieur.gouv.fr": true, "a_b=c/d+e": true, "0": true,
		"": false, "Alice": false, "a b": false, "a:b": false, "é": false, "a@b": false, "a\x00": false,
	} {
		if got := matrix.ValidLocalpart(in); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func TestZeroIDs(t *testing.T) {
	t.Parallel()
	if l, s := matrix.UserID("").Localpart(), matrix.UserID("").Server(); l != "" || s != "" {
		t.Errorf("%q at %q", l, s)
	}
}

func refused(t *testing.T, got string, err error) {
	t.Helper()
	if got != "" || !matrix.IsCode(err, "M_INVALID_PARAM") {
		t.Errorf("%q, %v; want it refused with M_INVALID_PARAM", got, err)
	} else if len(err.Error()) > 600 {
		t.Errorf("the refusal repeats %d bytes", len(err.Error()))
	}
}

// What is accepted is what was given, within the limits that others rely on.
func FuzzIDs(f *testing.F) {
	for _, seed := range []string{"@a:x", "#a:[::1]:8448", "!r:x", "$e", "x:1", "ed25519:1", "[::]", "@\x00:x", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := matrix.ParseUserID(s); err == nil {
			if string(id) != s || len(s) > matrix.MaxIDBytes || !utf8.ValidString(s) || "@"+id.Localpart()+":"+string(id.Server()) != s {
				t.Errorf("user ID %q", s)
			}
			if _, err := matrix.ParseServerName(string(id.Server())); err != nil {
				t.Errorf("server of %q: %v", s, err)
			}
		}
		if name, err := matrix.ParseServerName(s); err == nil {
			joined := name.Host()
			if name.Port() != "" {
				joined += ":" + name.Port()
			}
			if joined != s {
				t.Errorf("server name %q falls into %q", s, joined)
			}
		}
		if id, err := matrix.ParseRoomID(s); err == nil && (len(id) > matrix.MaxIDBytes || !utf8.ValidString(s)) {
			t.Errorf("room ID %q", s)
		}
		if id, err := matrix.ParseEventID(s); err == nil && (len(id) > matrix.MaxIDBytes || !utf8.ValidString(s) || s[0] != '$') {
			t.Errorf("event ID %q", s)
		}
		if _, err := matrix.ParseRoomAlias(s); err == nil && !utf8.ValidString(s) {
			t.Errorf("room alias %q", s)
		}
		if id, err := matrix.ParseKeyID(s); err == nil && id.Algorithm()+":"+id.Name() != s {
			t.Errorf("key ID %q", s)
		}
	})
}

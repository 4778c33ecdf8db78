package arch

import "slices"

// What packages are made of, from the bottom of the picture to its top. Every
// list holds packages of the module.
var (
	language = []string{
		"matrix", "matrix/canonicaljson", "matrix/event", "matrix/eventauth", "matrix/pushrules", "matrix/signing",
		"matrix/stateres",
	}
	gate   = []string{"policy"}
	peers  = []string{"federation/client", "federation/keyring"}
	owners = []string{"account", "e2ee", "media", "policystore", "roomserver"}
)

// everything stands for all packages below cmd/.
const everything = "*"

// mayImport says for every package which packages of the module it may import.
// Tests may import what they like. An arrow upwards has no place here: cut it
// with a small interface at its user.
var mayImport = map[string][]string{
	// Language: the protocol and nothing else.
	"matrix":               nil,
	"matrix/canonicaljson": {"matrix"},
	"matrix/signing":       {"matrix", "matrix/canonicaljson"},
	"matrix/event":         {"matrix", "matrix/canonicaljson", "matrix/signing"},
	"matrix/eventauth":     {"matrix", "matrix/canonicaljson", "matrix/event", "matrix/signing"},
	"matrix/stateres":      {"matrix", "matrix/canonicaljson", "matrix/event", "matrix/eventauth"},
	"matrix/pushrules":     {"matrix", "matrix/canonicaljson", "matrix/event"},

	// Ground: where things are kept, and how one hears of others.
	"config":             {"matrix"},
	"internal/obs":       nil,
	"internal/httpx":     {"matrix", "matrix/canonicaljson"},
	"storage":            {"matrix"},
	"storage/rooms":      join(language, "storage"),
	"storage/users":      join(language, "storage"),
	"storage/keys":       join(language, "storage"),
	"storage/files":      join(language, "storage"),
	"storage/peers":      join(language, "storage"),
	"storage/policies":   join(language, "storage"),
	"storage/search":     join(language, "storage"),
	"bus":                {"storage"},
	"federation/client":  join(language, "internal/httpx", "policy"),
	"federation/keyring": join(language, "storage", "storage/peers"),

	// Gate: a document in, a decision out. Its store keeps the document.
	"policy":      join(language),
	"policystore": join(language, "bus", "policy", "storage", "storage/policies", "storage/rooms"), // reads who is in which room: previews and sweeps

	// Owners: the only writers. None imports another.
	"roomserver": join(language, "bus", "policy", "storage", "storage/rooms", "storage/search"),
	"account":    join(language, "bus", "policy", "storage", "storage/keys", "storage/users"),                  // a device goes with its keys
	"e2ee":       join(language, "bus", "policy", "storage", "storage/keys", "storage/rooms", "storage/users"), // reads who shares a room
	"media":      join(language, "bus", "media/preview", "media/thumbs", "policy", "storage", "storage/files"),

	// What media works with.
	"media/blobs":   nil,
	"media/clamd":   nil,
	"media/preview": {"matrix"},
	"media/thumbs":  nil,

	// Followers: they read the log from a cursor of their own.
	"syncapi":              join(language, "bus", "policy", "roomserver", "storage", "storage/keys", "storage/rooms", "storage/users"), // what one may see is the rooms' to say
	"federation/sendqueue": join(language, "bus", "federation/client", "policy", "storage", "storage/keys", "storage/peers", "storage/rooms"),
	"search":               join(language, "bus", "storage", "storage/rooms", "storage/search", "storage/users"),
	"push":                 join(language, "bus", "federation/client", "policy", "storage", "storage/rooms", "storage/users"),
	"appservice":           join(language, "bus", "federation/client", "policy", "storage", "storage/rooms", "storage/users"),
	"sweep":                join(language, "bus", "policy", "policystore", "roomserver", "storage", "storage/rooms", "storage/users"),

	// Edges: parse, authenticate, make one call, render. None knows SQL.
	"clientapi":  join(language, joined(owners, peers, gate, "federation/sendqueue", "internal/httpx", "internal/obs", "media/preview", "search", "syncapi")...),
	"federation": join(language, joined(owners, peers, gate, "internal/httpx", "internal/obs", "storage", "storage/peers")...),
	"adminapi":   join(language, joined(owners, peers, gate, "internal/httpx", "internal/obs", "syncapi")...),

	// Top: what wires everything.
	"internal/node":    {everything},
	"internal/testkit": {everything},
	"cmd/beffroi":      {everything},
	"test/policy":      {everything},

	// The load generator is a client of any server and knows nothing of this one.
	"cmd/matrixload":                     append(under("cmd/matrixload/internal", "bench", "homeserver", "measure", "report", "scenario"), "internal/splice"),
	"cmd/matrixload/internal/bench":      under("cmd/matrixload/internal", "homeserver", "measure", "report", "scenario"),
	"cmd/matrixload/internal/homeserver": nil,
	"cmd/matrixload/internal/measure":    nil,
	"cmd/matrixload/internal/pace":       nil,
	"cmd/matrixload/internal/report":     under("cmd/matrixload/internal", "measure"),
	"cmd/matrixload/internal/scenario":   under("cmd/matrixload/internal", "homeserver", "measure", "pace"),

	// Tools.
	"internal/mailsink":   nil,
	"internal/arch":       nil,
	"internal/benchtable": {"internal/splice"},
	"internal/gendocs":    {"config"},
	"internal/splice":     nil,
}

// gates says which code consults policy, and the files that may. What is not
// here is asked nowhere else, so that each decision has one place to read.
var gates = []struct {
	what  string
	finds func(*goFile) int // how often a file does it
	files []string
}{
	{"asks the engine (Engine.Decide)", calls("Decide"), []string{"policystore/gate.go"}},
	{"asks the engine (Engine.AdmitEvent)", calls("AdmitEvent"), []string{"policystore/gate.go", "roomserver/admit.go"}},
	{"describes an event to policy (policy.EventRequest)", literals("policy", "EventRequest"), []string{"roomserver/admit.go"}},
	{"describes a request to policy (policy.Request)", literals("policy", "Request"), []string{
		"account/gate.go",
		"clientapi/gate.go", "federation/gate.go", // the gates of the edges
		"federation/client/do.go", "federation/sendqueue/queue.go", // before a name is resolved, before anything is queued
		"policystore/rooms.go",                                                      // a new room that was refused
		"roomserver/create.go", "roomserver/invite_email.go", "roomserver/reach.go", // the alias of a new room, whom one may see
		"syncapi/gate.go",
		"cmd/beffroi/explain.go", "internal/node/examine.go",
	}},
}

// pure are the packages that do no I/O, and forbidden what would do some.
var (
	pure      = append(slices.Clone(language), gate...)
	forbidden = []string{"database/sql", "log", "log/slog", "net", "os", "os/exec", "syscall"}
)

// onlyIn says which packages alone may import a package that is not ours.
var onlyIn = map[string][]string{
	"database/sql":           {"bus", "internal/testkit", "storage"},
	"github.com/lib/pq":      {"bus", "internal/testkit", "storage"},
	"modernc.org/sqlite":     {"internal/testkit", "storage"},
	"github.com/spf13/cobra": {"cmd/beffroi", "cmd/matrixload"},
	"cel.dev/cel-go/cel":     {"policy"},
	"math/rand":              nil, // names and keys come from crypto/rand, jitter from math/rand/v2
	"unsafe":                 nil,
	"reflect":                {"config", "policy"}, // they walk documents that people write
}

// The longest file and function that one person reads in one sitting.
const (
	maxFileLines     = 400
	maxFunctionLines = 60
)

func join(list []string, more ...string) []string { return append(slices.Clone(list), more...) }

func joined(owners, peers, gate []string, more ...string) []string {
	return slices.Concat(owners, peers, gate, more)
}

// under returns the packages of these names below a folder.
func under(folder string, names ...string) []string {
	for i, name := range names {
		names[i] = folder + "/" + name
	}
	return names
}

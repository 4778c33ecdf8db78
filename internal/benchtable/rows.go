package main

// The units that rows and limits speak of. Those without a slash are ratios
// that are made of two figures of one round; idle is a time that is made of
// one, as machine.idle says.
const (
	nanoseconds  = "ns/op"
	allocations  = "allocs/op"
	statements   = "statements/op"
	sends        = "sends/s"
	idle         = "idle"
	verification = "Ed25519 verifications"
	standardJSON = "encoding/json"
	floorShare   = "of the floor"
	manyShare    = "of many rooms"
)

// limit is one number of a budget.
type limit struct {
	unit  string
	value float64
	least bool // the figure must not be below it; else not above
}

func most(value float64, unit string) limit  { return limit{unit, value, false} }
func least(value float64, unit string) limit { return limit{unit, value, true} }

// row is one benchmark with a budget, which may be empty.
type row struct {
	what   string
	bench  string // package.Name
	budget []limit
	beside map[string]string // a ratio, and the benchmark it is made with
}

// section is a table of the document.
type section struct {
	title, intro string
	units        []string // the columns behind what was measured
	main         string   // the unit that is shown first
	long         bool     // takes seconds a row, on a real engine
	rows         []row
}

const (
	microsecond = 1e3
	millisecond = 1e6
)

// sections are the tables, for a machine with so many cores.
func sections(cores int) []section {
	return []section{language(cores), decisions(), sending(), reading()}
}

// core is a row of the language with the floors that its package has: every
// one has a verification, and json is what encoding/json does there.
func core(what, bench, json string, budget ...limit) row {
	pkg, _ := split(bench)
	beside := map[string]string{verification: pkg + ".FloorEd25519Verify"}
	if json != "" {
		beside[standardJSON] = pkg + "." + json
	}
	return row{what, bench, budget, beside}
}

func language(cores int) section {
	const (
		e, c, a, s = "matrix/event.", "matrix/canonicaljson.", "matrix/eventauth.", "matrix/stateres."
		json       = "FloorEncodingJSON"
	)
	return section{
		title: "The protocol core",
		intro: "An event of 1 KiB unless something else is said. `encoding/json` decodes the same event into a struct, encodes the same 100 events, and for canonical JSON takes it through a map and back.",
		units: []string{idle, allocations, verification, standardJSON}, main: nanoseconds,
		rows: []row{
			core("parse an untrusted event, with all checks but the signature", e+"ParseUntrusted", json, most(10*microsecond, nanoseconds), most(6, allocations)),
			core("the same, with white space and `unsigned`", e+"ParseUntrustedSpaced", json, most(10*microsecond, nanoseconds), most(6, allocations)),
			core("read six fields of a stored event", e+"ReadSixFields/1KiB", json),
			core("the same of one of 60 KiB", e+"ReadSixFields/60KiB", ""),
			core("canonicalise", c+"Canonicalise", json, most(4*microsecond, nanoseconds)),
			core("canonicalise what is canonical", c+"CanonicaliseCanonical", json, most(2*microsecond, nanoseconds)),
			core("append 100 stored events to an answer", e+"AppendClient100", json+"100", most(10*microsecond, nanoseconds)),
			core("build, hash and sign an event", e+"Build", ""),
			core("verify 1,000 signatures, on every core", e+"VerifySignatures1000", "", most(1250/float64(cores), verification)),
			core("verify a federation request of 1 KiB", "matrix/signing.VerifyRequest", ""),
			core("authorise a message", a+"Message", "", most(1.5*microsecond, nanoseconds)),
			core("authorise a join", a+"Join", "", most(3*microsecond, nanoseconds)),
			core("authorise a restricted join", a+"RestrictedJoin", "", most(3*microsecond, nanoseconds)),
			core("resolve two states of 10,000 events that differ in 50, algorithm 1", s+"ResolveV1", "", most(20*millisecond, nanoseconds)),
			core("the same, algorithm 2", s+"ResolveV2", "", most(20*millisecond, nanoseconds)),
			core("the same, algorithm 2.1", s+"ResolveV21", "", most(20*millisecond, nanoseconds)),
			core("the same, algorithm 2.1 with an index of auth chains", s+"ResolveV21Indexed", "", most(20*millisecond, nanoseconds)),
			core("two equal states of 10,000 events", s+"EqualStates", ""),
			core("push rules for 1,000 members of a room", "matrix/pushrules.Evaluate/default", ""),
			core("the same, with ten keywords each", "matrix/pushrules.Evaluate/ten_keywords", ""),
		},
	}
}

func decisions() section {
	const p = "policy."
	beside := map[string]string{verification: "matrix/event.FloorEd25519Verify"}
	return section{
		title: "The policy",
		intro: "With 5,000 organisations and 50,000 mail domains, where a decision is measured by itself.",
		units: []string{idle, allocations, verification}, main: nanoseconds,
		rows: []row{
			{"decide by the built-in rules", p + "Decide/builtin", []limit{most(1*microsecond, nanoseconds), most(0, allocations)}, beside},
			{"decide with ten rules of the document besides", p + "Decide/ten_rules", []limit{most(5*microsecond, nanoseconds), most(0, allocations)}, beside},
			{"admit a message", p + "AdmitEvent/message", []limit{most(1*microsecond, nanoseconds), most(0, allocations)}, beside},
			{"admit a join", p + "AdmitEvent/join", nil, beside},
			{"admit new power levels", p + "AdmitEvent/levels", nil, beside},
			{"compile the document", p + "Compile", []limit{most(300*millisecond, nanoseconds)}, beside},
		},
	}
}

func sending() section {
	send := func(what, engine, rooms string, budget ...limit) row {
		beside := map[string]string{floorShare: "roomserver.Send/" + engine + "/floor"}
		if rooms == "1" {
			beside[manyShare] = "roomserver.Send/" + engine + "/rooms=64"
		}
		return row{what, "roomserver.Send/" + engine + "/rooms=" + rooms, append(budget, most(3, statements)), beside}
	}
	return section{
		title: "Durable sends",
		intro: "Messages of many writers at a time, each answered after its commit. The floor of an engine is the same rows, an event and its transaction ID each with their indexes, written by the same committer and nothing else.",
		units: []string{floorShare, manyShare, statements}, main: sends, long: true,
		rows: []row{
			send("SQLite, 64 rooms", "sqlite", "64", least(1500, sends), least(0.25, floorShare)),
			send("SQLite, one room", "sqlite", "1", least(1000, sends), least(0.6, manyShare)),
			send("PostgreSQL, 64 rooms", "postgres", "64", least(1000, sends), least(0.25, floorShare)),
			send("PostgreSQL, one room", "postgres", "1", least(1000, sends), least(0.6, manyShare)),
		},
	}
}

func reading() section {
	const s = "syncapi."
	beside := map[string]string{verification: "matrix/event.FloorEd25519Verify"}
	var rows []row
	for _, engine := range []struct{ name, title string }{{"sqlite", "SQLite"}, {"postgres", "PostgreSQL"}} {
		rows = append(rows,
			row{engine.title + ": a sync of which nothing is new", s + "IdleSync/" + engine.name, []limit{most(0, statements)}, beside},
			row{engine.title + ": the first sync, 200 rooms of 10 messages", s + "FirstSyncOf200Rooms/" + engine.name, []limit{most(150*millisecond, nanoseconds)}, beside},
			row{engine.title + ": from a send to the answer of another member's long poll", s + "SendToOther/" + engine.name, []limit{most(8*millisecond, nanoseconds)}, nil},
		)
	}
	return section{
		title: "Sync", intro: "On one server in the process, without HTTP. What waits for the disk has no idle time here.",
		units: []string{idle, statements, allocations}, main: nanoseconds, long: true, rows: rows,
	}
}

package scenario

import (
	"context"
	"math"

	"beffroi/cmd/matrixload/internal/pace"
)

// Scenario is one way to use a homeserver.
type Scenario struct {
	Name    string
	About   string // one sentence for people who choose one
	Servers int    // how many base URLs it needs
	Main    string // the operation that it is about

	defaults Options
	random   bool // actions are due as those of people who know nothing of each other
	// build makes accounts and rooms, and returns what an action does.
	build func(context.Context, *world) (action, error)
}

// action does what is due, records how that went, and returns when it ended.
type action func(context.Context, pace.Slot)

// The operations that reports name.
const (
	opRegister   = "register"
	opCreate     = "create"
	opJoin       = "join"
	opJoinRemote = "join_federated"
	opSend       = "send"
	opRead       = "read_receipt"
	opType       = "typing"
	opHistory    = "history"
	opFirstSync  = "first_sync"
	opInitial    = "initial_sync"
	opSync       = "sync"
	opUpload     = "upload"
	opDownload   = "download"
	// opDelivery is from when a message was due until a member's request for
	// news returned with it.
	opDelivery       = "delivery"
	opDeliveryRemote = "delivery_federated"
)

// All returns every scenario.
func All() []*Scenario {
	return []*Scenario{
		{
			Name: "one-room", About: "All members of one room send messages into it.", Servers: 1, Main: opSend,
			defaults: Options{Rate: 100, WarmUp: warmUp, Users: 16, Rooms: 1, Members: 16}, build: buildSending,
		},
		{
			Name: "many-rooms", About: "Messages are sent into many rooms in turn.", Servers: 1, Main: opSend,
			defaults: Options{Rate: 100, WarmUp: warmUp, Users: 64, Rooms: 64, Members: 16}, build: buildSending,
		},
		{
			Name: "sync-latency", About: "Messages are sent, and it is measured when a waiting member has them.",
			Servers: 1, Main: opDelivery,
			defaults: Options{Rate: 20, WarmUp: warmUp, Users: 16, Rooms: 1, Members: 16, Listeners: 1}, build: buildSending,
		},
		{
			Name: "initial-sync", About: "Users in many rooms log in with a client that knows nothing yet.", Servers: 1, Main: opInitial,
			defaults: Options{Rate: Unlimited, Workers: 1, Users: 4, Rooms: 200, Members: 4, Messages: 10}, build: buildInitialSync,
		},
		{
			Name: "join-storm", About: "Everybody joins the same room at once.", Servers: 1, Main: opJoin,
			defaults: Options{Rate: 50, Users: 500, Rooms: 1, Members: 1}, build: buildJoinStorm,
		},
		{
			Name: "federated", About: "Users of two servers send messages into the rooms that they share.", Servers: 2, Main: opDeliveryRemote,
			defaults: Options{Rate: 20, WarmUp: warmUp, Users: 16, Rooms: 1, Members: 16, Listeners: 2}, build: buildSending,
		},
		{
			Name: "media", About: "Users send files of a megabyte, and fetch each of them.", Servers: 1, Main: opUpload,
			defaults: Options{Rate: Unlimited, WarmUp: warmUp, Workers: 8, Users: 16, Rooms: 1, Members: 1}, build: buildMedia,
		},
		{
			Name: "mixed", About: "Users in a few large and many small rooms send, read, type and look back; all wait for news.",
			Servers: 1, Main: opSend, random: true,
			defaults: Options{WarmUp: warmUp, Users: 200, Rooms: 50, Members: 20}, build: buildMixed,
		},
	}
}

// ByName returns a scenario, nil if there is none of the name.
func ByName(name string) *Scenario {
	for _, s := range All() {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// resolve returns complete options, or an error that tells all that is wrong
// with them.
func (s *Scenario) resolve(o Options) (Options, error) {
	d := s.defaults
	if s.Name == "mixed" {
		users := o.Users
		or(&users, d.Users)
		d.Listeners, d.Rate = users, actionsPerUser*float64(users)
	}
	o.fill(d)
	// Fewer users than a room would have by default are a smaller room.
	if o.Users > 0 && o.Members > o.Users && o.Members == d.Members {
		o.Members = o.Users
	}
	if o.Rate != Unlimited && (math.IsNaN(o.Rate) || math.IsInf(o.Rate, 0)) {
		o.Rate = 0 // which is refused
	}
	return o, o.check(s)
}

// Package scenario is what users do to a homeserver under load: who they are,
// the rooms they are in, and what they do there.
package scenario

import (
	"errors"
	"fmt"
	"time"

	"beffroi/cmd/matrixload/internal/homeserver"
)

// The most that can be asked for. They are far beyond what one machine can
// bring about, and keep a slip of the finger from filling a disk.
const (
	maxUsers    = 20_000
	maxRooms    = 20_000
	maxMembers  = 20_000
	maxMessages = 10_000
	maxRate     = 100_000
	maxWorkers  = 10_000
	maxDuration = 24 * time.Hour
	maxPatience = 10 * time.Minute // the messages on their way are kept as long
	maxActions  = 100_000_000
	// maxMessageBytes leaves room for the rest of an event of 65,536 bytes.
	maxMessageBytes = 60_000
	// maxJoins bounds the joins of the set-up: the product of rooms and members
	// grows faster than one thinks.
	maxJoins = 1_000_000
)

// Options is one run. A zero means what the scenario has by default, and a
// negative number, such as [None], means none at all.
type Options struct {
	// Servers are what is loaded: one, or two that federate.
	Servers []*homeserver.Server
	// Secret makes accounts by the shared secret of the servers. Empty means
	// open registration.
	Secret string
	// Metrics is where the metrics of the servers' process are, nil for nowhere.
	Metrics *homeserver.Server
	// Counters are the metrics whose growth is reported.
	Counters []string
	// Label is what the report calls the servers.
	Label string

	// Rate is how many actions a second are due. Unlimited means as many as
	// Workers loops can do.
	Rate    float64
	Workers int
	// MaxInFlight bounds the actions that run at a time where there is a rate.
	MaxInFlight int
	// Actions bounds how many are started.
	Actions int64
	// WarmUp is how long actions are done before they are measured.
	WarmUp   time.Duration
	Duration time.Duration
	// SetUpLimit bounds how long accounts and rooms may take.
	SetUpLimit time.Duration

	// Patience is how long a message may take to those who wait for it.
	Patience time.Duration

	Users        int
	Rooms        int
	Members      int // of a room
	Messages     int // in a room before it is measured
	Listeners    int // users that wait for news all the time
	MessageBytes int
	// Seed decides everything that is left to chance.
	Seed uint64
}

const (
	// Unlimited is the rate of a run that does as much as the server can.
	Unlimited = -1
	// None is a number where zero would mean the default.
	None = -1
)

// fill replaces zeros by the defaults of a scenario and those of all.
func (o *Options) fill(d Options) {
	or(&o.Rate, d.Rate)
	or(&o.Workers, d.Workers, 64)
	or(&o.MaxInFlight, d.MaxInFlight, 1000)
	or(&o.Actions, d.Actions, 1_000_000)
	or(&o.WarmUp, d.WarmUp)
	or(&o.Duration, d.Duration, 30*time.Second)
	or(&o.SetUpLimit, d.SetUpLimit, 10*time.Minute)
	or(&o.Patience, d.Patience, 10*time.Second)
	or(&o.Users, d.Users)
	or(&o.Rooms, d.Rooms)
	or(&o.Members, d.Members)
	or(&o.Messages, d.Messages)
	or(&o.Listeners, d.Listeners)
	or(&o.MessageBytes, d.MessageBytes, 120)
	or(&o.Seed, 1)
	o.WarmUp, o.Messages, o.Listeners = max(o.WarmUp, 0), max(o.Messages, 0), max(o.Listeners, 0)
}

// or sets a value that is zero to the first of the others that is not.
func or[T comparable](v *T, others ...T) {
	var zero T
	for _, other := range others {
		if *v == zero {
			*v = other
		}
	}
}

// check refuses what is out of bounds, and tells all mistakes at once.
func (o *Options) check(s *Scenario) error {
	var errs []error
	between := func(what string, v, low, high float64) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s must be between %v and %v, and is %v", what, low, high, v))
		}
	}
	if len(o.Servers) != s.Servers {
		errs = append(errs, fmt.Errorf("%s needs %d servers and has %d", s.Name, s.Servers, len(o.Servers)))
	}
	if o.Rate != Unlimited {
		between("the rate", o.Rate, 0.001, maxRate)
	}
	between("the workers", float64(o.Workers), 1, maxWorkers)
	between("the actions in flight", float64(o.MaxInFlight), 1, maxWorkers)
	between("the actions", float64(o.Actions), 1, maxActions)
	between("the warm-up in seconds", o.WarmUp.Seconds(), 0, maxDuration.Seconds())
	between("the duration in seconds", o.Duration.Seconds(), 1, maxDuration.Seconds())
	between("the limit of the set-up in seconds", o.SetUpLimit.Seconds(), 1, maxDuration.Seconds())
	between("the patience in seconds", o.Patience.Seconds(), 1, maxPatience.Seconds())
	between("the users", float64(o.Users), 1, maxUsers)
	between("the rooms", float64(o.Rooms), 1, maxRooms)
	between("the members of a room", float64(o.Members), 1, float64(min(maxMembers, max(o.Users, 1))))
	between("the joins", float64(o.Rooms)*float64(o.Members), 1, maxJoins)
	between("the messages in a room", float64(o.Messages), 0, maxMessages)
	between("the listeners", float64(o.Listeners), 0, float64(o.Users))
	between("the bytes of a message", float64(o.MessageBytes), 1, maxMessageBytes)
	return errors.Join(errs...)
}

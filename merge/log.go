package merge

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"mergescope/loader"
)

// maxAlerts bounds a log. Findings on further layers are counted under the
// whole model, so nothing is lost but their places.
const (
	maxAlerts   = 2000
	moreMessage = "on more layers than are listed one by one"
)

// Log collects alerts. Equal Code and Layer merge into one that counts; of
// those about no single layer only equal messages do. It is safe for concurrent
// use; the zero value is ready.
type Log struct {
	Now func() time.Time // clock; nil means time.Now. Set it before the first Add.

	mu     sync.Mutex
	alerts []logged
	index  map[logKey]int
	serial int64
}

type logKey struct {
	code    Code
	layer   string
	message string // "" if there is a layer
}

func (a *Alert) key() logKey {
	if a.Layer != "" {
		return logKey{a.Code, a.Layer, ""}
	}
	return logKey{a.Code, "", a.Message}
}

// logged is an alert with the order in which it was last added, finer than any
// clock.
type logged struct {
	Alert
	serial int64
}

// Add puts alerts into the log. An alert that is there already counts up, gets
// the higher level and is open again if it was acknowledged at a lower one.
func (l *Log) Add(alerts ...Alert) {
	if len(alerts) == 0 {
		return
	}
	now := time.Now
	if l.Now != nil {
		now = l.Now
	}
	t := now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.index == nil {
		l.index = map[logKey]int{}
	}
	for _, a := range alerts {
		l.add(a, t)
	}
}

func (l *Log) add(a Alert, t time.Time) {
	l.serial++
	a.Count = max(a.Count, 1)
	i, ok := l.index[a.key()]
	if !ok && len(l.alerts) >= maxAlerts {
		a.Layer, a.Place, a.Message = "", Nowhere(), moreMessage
		i, ok = l.index[a.key()]
	}
	if !ok {
		a.First, a.Last = t, t
		l.index[a.key()] = len(l.alerts)
		l.alerts = append(l.alerts, logged{a, l.serial})
		return
	}
	old := &l.alerts[i]
	old.Count += a.Count
	old.Last = t
	old.serial = l.serial
	if a.Level > old.Level {
		if a.Layer != "" { // else the message is part of the key
			old.Message, old.Hint = a.Message, a.Hint
		}
		old.Level, old.Acknowledged = a.Level, false
	}
}

// More reports whether a stands for alerts that a full log only counts. The
// reports of the layers still have them.
func (a *Alert) More() bool { return a.Layer == "" && a.Message == moreMessage }

// All returns a copy of the alerts, newest first.
func (l *Log) All() []Alert {
	l.mu.Lock()
	order := slices.Clone(l.alerts)
	l.mu.Unlock()
	slices.SortFunc(order, func(a, b logged) int { return cmp.Compare(b.serial, a.serial) })
	out := make([]Alert, len(order))
	for i, a := range order {
		out[i] = a.Alert
	}
	return out
}

// Counts returns how many alerts there are of each level, indexed by Level;
// acknowledged ones do not count.
func (l *Log) Counts() [Error + 1]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n [Error + 1]int
	for _, a := range l.alerts {
		if !a.Acknowledged {
			n[a.Level]++
		}
	}
	return n
}

// Acknowledge marks an alert, as All returned it, as seen.
func (l *Log) Acknowledge(a Alert) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i, ok := l.index[a.key()]; ok {
		l.alerts[i].Acknowledged = true
	}
}

// AcknowledgeAll marks every alert as seen.
func (l *Log) AcknowledgeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.alerts {
		l.alerts[i].Acknowledged = true
	}
}

// SortAlerts orders alerts for a report, whose text must not depend on which
// worker was first: errors first, then by code and layer in natural order.
func SortAlerts(alerts []Alert) {
	slices.SortStableFunc(alerts, func(a, b Alert) int {
		return cmp.Or(cmp.Compare(b.Level, a.Level), cmp.Compare(a.Code, b.Code), loader.NaturalCompare(a.Layer, b.Layer))
	})
}

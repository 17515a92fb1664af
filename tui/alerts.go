package tui

import (
	"cmp"
	"slices"

	"mergescope/merge"
)

// alertsPane lists what was found, the worst first. Many alerts of one code
// share a row that unfolds.
type alertsPane struct {
	book   *ledger
	alerts []merge.Alert
	seen   map[alertID]int          // indexes of alerts
	layers map[string][]merge.Alert // alerts by layer, nil until asked for
	acked  map[alertID]bool
	open   map[merge.Code]bool
	least  merge.Level // alerts below are not shown
	rows   []alertRow
	cur    int
	top    int
	height int
	todo   string // what to do for alerts, where there are none
}

// alertRow is an alert, or all of a code if n > 0.
type alertRow struct {
	alert int // index; of a group, its first
	n     int
	under bool // below a group
}

// foldFrom is how many alerts of one code become a group.
const foldFrom = 4

// alertID is what makes alerts the same. Alerts of the whole model differ by
// their words.
type alertID struct {
	code           merge.Code
	layer, message string
}

func alertKey(al *merge.Alert) alertID {
	if al.Layer != "" {
		return alertID{al.Code, al.Layer, ""}
	}
	return alertID{al.Code, "", al.Message}
}

// set gives the pane what is known now. Alerts that come twice are merged: the
// counts of one job do not add to those of another.
func (p *alertsPane) set(alerts []merge.Alert) {
	if p.seen == nil {
		p.seen = map[alertID]int{}
	}
	clear(p.seen)
	at := p.place()
	p.alerts, p.layers = p.alerts[:0], nil
	for i := range alerts {
		al := &alerts[i]
		key := alertKey(al)
		if i, ok := p.seen[key]; ok {
			p.alerts[i].Count = max(p.alerts[i].Count, al.Count)
			continue
		}
		p.seen[key] = len(p.alerts)
		p.alerts = append(p.alerts, *al)
	}
	slices.SortStableFunc(p.alerts, func(a, b merge.Alert) int {
		return cmp.Or(cmp.Compare(b.Level, a.Level), cmp.Compare(urgency(a.Code), urgency(b.Code)), cmp.Compare(a.Code, b.Code),
			cmp.Compare(p.book.index(a.Layer), p.book.index(b.Layer)), cmp.Compare(a.Message, b.Message))
	})
	p.rebuild(at)
}

// urgency orders codes of one level: what the program is about comes first.
func urgency(c merge.Code) int {
	first := []merge.Code{merge.CodeNonFinite, merge.CodeErased, merge.CodeRounding4, merge.CodeRounding8, merge.CodeWeak}
	if i := slices.Index(first, c); i >= 0 {
		return i
	}
	return len(first)
}

// alertPlace says where the cursor is: on an alert, on all of a code, or, if it is
// zero, at the top, where it stays whatever comes.
type alertPlace struct {
	alertID
	group bool
}

// place returns where the cursor is.
func (p *alertsPane) place() alertPlace {
	if al := p.current(); al != nil && p.cur > 0 {
		return p.placeOf(&p.rows[p.cur])
	}
	return alertPlace{}
}

func (p *alertsPane) placeOf(r *alertRow) alertPlace {
	al := &p.alerts[r.alert]
	if r.n > 0 {
		return alertPlace{alertID{code: al.Code}, true}
	}
	return alertPlace{alertKey(al), false}
}

// rebuild lists the rows anew, with the cursor where it was.
func (p *alertsPane) rebuild(at alertPlace) {
	p.rows = p.rows[:0]
	for i := 0; i < len(p.alerts); {
		n := i
		for n < len(p.alerts) && p.alerts[n].Code == p.alerts[i].Code && p.alerts[n].Level == p.alerts[i].Level {
			n++
		}
		if p.alerts[i].Level >= p.least {
			p.addCode(i, n)
		}
		i = n
	}
	for row := range p.rows { // in a group that is closed it stays on the row
		if at.code != "" && p.placeOf(&p.rows[row]) == at {
			p.cur = row
		}
	}
	p.move(0)
}

func (p *alertsPane) addCode(from, to int) {
	grouped := to-from >= foldFrom
	if grouped {
		p.rows = append(p.rows, alertRow{alert: from, n: to - from})
		if !p.open[p.alerts[from].Code] {
			return
		}
	}
	for i := from; i < to; i++ {
		p.rows = append(p.rows, alertRow{alert: i, under: grouped})
	}
}

// current returns the alert under the cursor, the first of a group; nil if
// there is none.
func (p *alertsPane) current() *merge.Alert {
	if p.cur < 0 || p.cur >= len(p.rows) || p.rows[p.cur].alert >= len(p.alerts) {
		return nil
	}
	return &p.alerts[p.rows[p.cur].alert]
}

func (p *alertsPane) move(d int) {
	p.cur = between(p.cur+d, 0, max(0, len(p.rows)-1))
	p.top = between(p.top, p.cur-p.height+1, p.cur)
	p.top = between(p.top, 0, max(0, len(p.rows)-p.height))
}

func (p *alertsPane) resize(h int) {
	p.height = max(1, h-p.hintLines(h))
	p.move(0)
}

// hintLines is the room for the remedy below the list.
func (p *alertsPane) hintLines(h int) int {
	switch {
	case h < 3:
		return 0
	case h < 8:
		return 1
	default:
		return 3
	}
}

// unfold opens or closes the group that the cursor is on or in.
func (p *alertsPane) unfold(open bool) {
	al := p.current()
	if al == nil {
		return
	}
	r := p.rows[p.cur]
	switch {
	case r.n > 0 && p.open[al.Code] != open:
	case r.under && !open:
		for p.rows[p.cur].n == 0 {
			p.cur--
		}
	default:
		return
	}
	if p.open == nil {
		p.open = map[merge.Code]bool{}
	}
	p.open[al.Code] = open
	cur := p.cur
	p.rebuild(alertPlace{})
	p.cur = cur
	p.move(0)
}

// cycleLevel shows all, warnings and errors, or errors only.
func (p *alertsPane) cycleLevel() string {
	p.least = (p.least + 1) % (merge.Error + 1)
	p.rebuild(p.place())
	switch p.least {
	case merge.Info:
		return "all alerts"
	case merge.Warning:
		return "warnings and errors"
	default:
		return "errors only"
	}
}

// acknowledge takes the alerts of the row out of the counts, or all of them.
func (p *alertsPane) acknowledge(all bool) int {
	if p.acked == nil {
		p.acked = map[alertID]bool{}
	}
	from, to := 0, len(p.alerts)
	if !all {
		if p.current() == nil {
			return 0
		}
		from = p.rows[p.cur].alert
		to = from + max(1, p.rows[p.cur].n)
	}
	n := 0
	for i := from; i < to; i++ {
		if k := alertKey(&p.alerts[i]); !p.acked[k] {
			p.acked[k] = true
			n++
		}
	}
	return n
}

// counts returns how many alerts of each level are not acknowledged.
func (p *alertsPane) counts() (n [merge.Error + 1]int) {
	for i := range p.alerts {
		if len(p.acked) == 0 || !p.acked[alertKey(&p.alerts[i])] {
			n[p.alerts[i].Level]++
		}
	}
	return n
}

// byLayer lists the alerts of each layer.
func (p *alertsPane) byLayer() map[string][]merge.Alert {
	if p.layers == nil {
		p.layers = map[string][]merge.Alert{}
		for _, al := range p.alerts {
			p.layers[al.Layer] = append(p.layers[al.Layer], al)
		}
	}
	return p.layers
}

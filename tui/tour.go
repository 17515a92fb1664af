package tui

import (
	"fmt"

	tea "charm.land/bubbletea/v2"

	"mergescope/merge"
	"mergescope/quant"
	"mergescope/themes"
)

// tour is a lesson on the demo: pages with a few sentences and a picture, all
// numbers of which are computed when it is opened.
type tour struct {
	id, name string
	pages    []page
}

// page is a screen of a tour.
type page struct {
	title   string
	text    func(s *stage) string
	picture func(s *stage, c canvas, w, h int) []string
	sliders []slider
	begin   func(s *stage) // settings the page begins with, nil for those as stored
}

// tourBox shows a tour. What it tries changes neither the plan nor a file.
type tourBox struct {
	lensOf
	tour   *tour
	at     int // page
	slider int // of the page
	top    int // first line shown
	asked  inquiry
	facts  *tourFacts // nil while they are computed
	stage  *stage     // of the page
	why    string     // the demo cannot be shown
}

// stage is what a page draws from.
type stage struct {
	*tourFacts
	box   *merge.Sandbox
	set   merge.Setting
	trial *merge.Trial
	tried map[merge.Setting]*merge.Trial
}

// tourMsg brings the numbers of a tour.
type tourMsg struct {
	box   *tourBox
	gen   int
	facts *tourFacts
	err   error
}

// askTour offers the tours.
func (a *app) askTour() tea.Cmd {
	var items []item
	for _, t := range tours() {
		items = append(items, item{text: t.name, note: plural(len(t.pages), "page"), run: func(a *app) tea.Cmd { return a.openTour(t.id) }})
	}
	a.push(newPicker("tours of the demo", "enter begins · esc back", false, items))
	return nil
}

// openTour begins a tour. The numbers are computed once a session.
func (a *app) openTour(id string) tea.Cmd {
	x := &tourBox{}
	for _, t := range tours() {
		if t.id == id {
			x.tour = &t
		}
	}
	a.push(x)
	if a.lesson != nil {
		x.facts = a.lesson
		x.turn(0)
		return nil
	}
	ctx, gen := x.asked.begin(a.ctx)
	source, workers := a.opt.Source, a.opt.Workers
	return a.work(func() tea.Msg {
		facts, err := gatherTour(ctx, source, workers)
		return tourMsg{x, gen, facts, err}
	})
}

func (a *app) tourReady(msg tourMsg) {
	if !msg.box.asked.answered(msg.gen) {
		return
	}
	if msg.err != nil {
		msg.box.why = clean(msg.err.Error())
		return
	}
	a.lesson = msg.facts
	msg.box.facts = msg.facts
	msg.box.turn(0)
}

// end closes a tour.
func (x *tourBox) end(a *app) {
	x.asked.stop()
	a.pop(x)
}

// turn goes d pages on.
func (x *tourBox) turn(d int) {
	x.at = between(x.at+between(d, -len(x.tour.pages), len(x.tour.pages)), 0, len(x.tour.pages)-1)
	x.slider, x.top = 0, 0
	if x.facts == nil {
		return
	}
	x.stage = &stage{tourFacts: x.facts, box: x.facts.box, set: x.facts.box.Stored(), tried: map[merge.Setting]*merge.Trial{}}
	if begin := x.page().begin; begin != nil {
		begin(x.stage)
	}
	x.stage.try()
}

// try merges the layer as the settings say.
func (s *stage) try() { s.trial = s.with(func(*merge.Setting) {}) }

// with merges the layer under other settings than the page's.
func (s *stage) with(change func(*merge.Setting)) *merge.Trial {
	set := s.set
	change(&set)
	t, ok := s.tried[set]
	if !ok {
		t = s.box.Try(set)
		s.tried[set] = t
	}
	return t
}

func (x *tourBox) page() *page { return &x.tour.pages[x.at] }

func (x *tourBox) scope() scope { return inTour }

func (x *tourBox) hints() []lensHint {
	h := []lensHint{{"move.left move.right", "page"}}
	if len(x.page().sliders) > 0 {
		h = append(h, lensHint{"tour.more tour.less", "change"})
		if len(x.page().sliders) > 1 {
			h = append(h, lensHint{"move.up move.down", "slider"})
		}
	}
	return append(h, lensHint{"app.copy", "copy"}, lensHint{"app.help", "help"})
}

// move turns pages (sideways), and picks a slider or scrolls (up and down).
func (x *tourBox) move(a *app, dr, dc int) tea.Cmd {
	if dc != 0 {
		x.turn(dc)
	}
	n := len(x.page().sliders)
	switch {
	case dr == 0 || x.stage == nil:
	case n > 0:
		x.slider = between(x.slider+between(dr, -n, n), 0, n-1)
	default:
		w, h := x.size(a.w-4, a.h-4)
		over := len(x.body(a.skin.canvas(true), w, h)) - h
		x.top = between(x.top+between(dr, -farAway/2, farAway/2), 0, max(0, over+1))
	}
	return nil
}

// slide moves the slider that is picked.
func (a *app) slide(d int) tea.Cmd {
	x, ok := a.topOverlay().(*tourBox)
	if !ok || x.stage == nil {
		return nil
	}
	if len(x.page().sliders) == 0 {
		return a.say(themes.Note, "nothing to change on this page")
	}
	x.page().sliders[x.slider].slide(x.stage, d)
	x.stage.try()
	return nil
}

// slider is a setting that can be changed on a page.
type slider struct {
	name  string
	value func(s *stage) string
	slide func(s *stage, d int)
}

// choose moves to a neighbour in a list, from the nearest place in it.
func choose[T comparable](list []T, now T, d int) T {
	at := 0
	for i, v := range list {
		if v == now {
			at = i
		}
	}
	return list[between(at+d, 0, len(list)-1)]
}

var (
	factorSlider = slider{
		"delta scale",
		func(s *stage) string { return fmt.Sprintf("×%g", s.set.Factor) },
		func(s *stage, d int) {
			s.set.Factor = choose([]float64{0, 0.1, 0.2, 0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30}, s.set.Factor, d)
		},
	}
	rankSlider = slider{
		"rank",
		func(s *stage) string { return fmt.Sprintf("%d of %d", s.set.Rank, s.box.Rank) },
		func(s *stage, d int) { s.set.Rank = between(s.set.Rank+d, 1, s.box.Rank) },
	}
	blockSlider = slider{
		"block size",
		func(s *stage) string {
			if !s.set.Format.Is4Bit() {
				return "one scale a row"
			}
			return fmt.Sprint(s.set.Blocksize)
		},
		func(s *stage, d int) {
			s.set.Blocksize = choose([]int{32, 64, 128, 256, 512, 1024, 2048, 4096}, s.set.Blocksize, d)
		},
	}
	formatSlider = slider{
		"format",
		func(s *stage) string { return s.set.Format.String() },
		func(s *stage, d int) {
			s.set.Format = choose([]quant.Format{quant.FP4, quant.NF4, quant.Int8}, s.set.Format, d)
		},
	}
)

// copyText is the page in words.
func (x *tourBox) copyText() string {
	if x.stage == nil {
		return ""
	}
	return x.tour.name + ": " + x.page().title + "\n" + x.page().text(x.stage)
}

// tourActions are the tours in the palette.
func tourActions() []action {
	all := []action{
		{"tour.open", []string{"H"}, inPanes, "tours", "Tours…", "Lessons on the demo with live numbers: what 4-bit weights are, why small deltas vanish, when to merge.", (*app).noTour, (*app).askTour},
		{"tour.more", []string{"+"}, inTour, "", "More", "Move the slider of a tour up.", nil, func(a *app) tea.Cmd { return a.slide(1) }},
		{"tour.less", []string{"-"}, inTour, "", "Less", "Move the slider of a tour down.", nil, func(a *app) tea.Cmd { return a.slide(-1) }},
	}
	for _, t := range tours() {
		all = append(all, action{
			"tour." + t.id, nil, inPanes, "", "Tour: " + t.name, "", (*app).noTour,
			func(a *app) tea.Cmd { return a.openTour(t.id) },
		})
	}
	return all
}

func (a *app) noTour() string {
	if a.opt.Source.Demo == nil {
		return "this program was built without the demo"
	}
	return ""
}

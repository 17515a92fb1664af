package tui

// paneID is a pane by its number on screen.
type paneID int

const (
	layersID paneID = iota + 1
	blocksID
	blockID
	alertsID
)

var paneNames = [...]string{layersID: "layers", blocksID: "blocks", blockID: "block", alertsID: "alerts"}

// rect is an area of the screen in cells.
type rect struct{ x, y, w, h int }

func (r rect) contains(x, y int) bool {
	return x >= r.x && x < r.x+r.w && y >= r.y && y < r.y+r.h
}

// form is how the panes share the screen.
type form uint8

const (
	tooSmall  form = iota
	onePane        // one pane at a time, without a frame
	twoPanes       // layers and blocks above, block or alerts below
	fourPanes      // all four
)

// The smallest screens of each form.
const (
	minOneW, minOneH   = 60, 14
	minTwoW, minTwoH   = 80, 20
	minFourW, minFourH = 120, 30
)

// slot is the place of a visible pane. A slot with several tabs shows one of
// them, pane.
type slot struct {
	pane   paneID
	tabs   []paneID
	at     rect // with frame or title line
	inside rect
}

// layout is where everything is. Empty rects are not shown.
type layout struct {
	form   form
	w, h   int
	header rect
	status rect // progress of a job, or what is known
	notice rect // toast, guidance
	footer rect // hints
	room   rect // of the panes
	slots  []slot
}

// split is how much of the room the panes have, in thousandths; 0 is what fits
// the size of the screen.
type split struct {
	Left  int `json:"left,omitempty"`  // width of the layers
	Low   int `json:"low,omitempty"`   // height of the pane at the bottom
	Block int `json:"block,omitempty"` // height of the block below the blocks
}

// The least of a pane that can be made smaller, frame included, in cells.
const (
	minPaneW = 26
	minPaneH = 5
)

// share returns a part of n cells that leaves least on both sides, fallback if
// the user chose none.
func share(thousandths, n, least, fallback int) int {
	if thousandths <= 0 {
		return fallback
	}
	return between(thousandths*n/1000, least, max(least, n-least))
}

// thousandths is the inverse of share.
func thousandths(part, n int) int { return (part*1000 + n - 1) / max(1, n) }

// arrange lays out a screen of w by h cells. below is the pane of the lower
// slot where two share it; full gives the whole room to the focused pane.
func arrange(w, h int, focus, below paneID, full bool) layout {
	return arrangeSplit(w, h, focus, below, full, split{})
}

// arrangeSplit is arrange with sizes that the user chose.
func arrangeSplit(w, h int, focus, below paneID, full bool, sp split) layout {
	l := layout{w: max(0, w), h: max(0, h)}
	switch {
	case w >= minFourW && h >= minFourH:
		l.form = fourPanes
	case w >= minTwoW && h >= minTwoH:
		l.form = twoPanes
	case w >= minOneW && h >= minOneH:
		l.form = onePane
	default:
		return l
	}
	l.header = rect{0, 0, w, 1}
	l.footer = rect{0, h - 1, w, 1}
	bottom := h - 1
	if l.form != twoPanes { // there the notice covers the status
		bottom--
		l.notice = rect{0, bottom, w, 1}
	}
	bottom--
	l.status = rect{0, bottom, w, 1}
	if l.form == twoPanes {
		l.notice = l.status
	}
	l.room = rect{0, 1, w, bottom - 1}
	l.slots = slots(l.form, l.room, focus, below, full, sp)
	return l
}

// slots divides the room between header and status.
func slots(f form, room rect, focus, below paneID, full bool, sp split) []slot {
	all := []paneID{layersID, blocksID, blockID, alertsID}
	if f == onePane {
		in := rect{room.x, room.y + 1, room.w, room.h - 1}
		return []slot{{pane: focus, tabs: all, at: room, inside: in}}
	}
	if full {
		return []slot{framed(focus, room, all...)}
	}
	if f == twoPanes {
		low := share(sp.Low, room.h, minPaneH, between(room.h/4+1, 6, 12))
		left := share(sp.Left, room.w, minPaneW, between(room.w*17/40, 34, 56))
		top := room.h - low
		if focus == blockID || focus == alertsID {
			below = focus
		}
		return []slot{
			framed(layersID, rect{room.x, room.y, left, top}),
			framed(blocksID, rect{room.x + left, room.y, room.w - left, top}),
			framed(below, rect{room.x, room.y + top, room.w, low}, blockID, alertsID),
		}
	}
	low := share(sp.Low, room.h-minPaneH, minPaneH, between(room.h/5+1, 7, 14))
	top := room.h - low
	left := share(sp.Left, room.w, minPaneW, between(room.w*23/60, 46, 76))
	block := share(sp.Block, top, minPaneH, between(top*3/10, min(7, top-minPaneH), 16))
	return []slot{
		framed(layersID, rect{room.x, room.y, left, top}),
		framed(blocksID, rect{room.x + left, room.y, room.w - left, top - block}),
		framed(blockID, rect{room.x + left, room.y + top - block, room.w - left, block}),
		framed(alertsID, rect{room.x, room.y + top, room.w, low}),
	}
}

func framed(p paneID, at rect, tabs ...paneID) slot {
	if len(tabs) == 0 {
		tabs = []paneID{p}
	}
	in := rect{at.x + 1, at.y + 1, at.w - 2, at.h - 2}
	if p == blocksID || p == blockID { // text right at the frame reads badly
		in.x, in.w = in.x+1, in.w-2
	}
	return slot{pane: p, tabs: tabs, at: at, inside: in}
}

// slot returns the place of a pane; ok is false if it is not visible.
func (l layout) slot(p paneID) (slot, bool) {
	for _, s := range l.slots {
		if s.pane == p {
			return s, true
		}
	}
	return slot{}, false
}

// between returns v, but at least low and at most high.
func between(v, low, high int) int { return min(max(v, low), high) }

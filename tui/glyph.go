package tui

// glyphs are the symbols of the screen outside heatmaps. All are one cell wide
// and none has an emoji form, so terminals agree on their width.
type glyphs struct {
	thin, heavy border

	open, closed         string // groups of a tree
	done, active, queued string // layers in a job
	bad, warn, note      string // levels of alerts
	none, dash           string // no adapter; no number
	mark, cursor         string
	times, more, dot     string // multiplication sign, ellipsis, separator
	up, down             string // sort order
	on, off              string // choices
	barL, barR           string
	full, empty          string
	eighths              [7]string // bar ends of 1/8 to 7/8
	keyUp, keyDown       string    // arrows in hints
	keyLeft, keyRight    string
}

// border is the set of lines of a frame.
type border struct{ h, v, tl, tr, bl, br string }

var unicodeGlyphs = glyphs{
	thin:  border{"─", "│", "╭", "╮", "╰", "╯"},
	heavy: border{"━", "┃", "┏", "┓", "┗", "┛"},
	open:  "▾", closed: "▸",
	done: "✓", active: "◐", queued: "·",
	bad: "✕", warn: "!", note: "i",
	none: "–", dash: "–",
	mark: "●", cursor: "▌",
	times: "×", more: "…", dot: "·",
	up: "↑", down: "↓",
	on: "◉", off: "○",
	barL: "▕", barR: "▏",
	full: "█", empty: " ",
	eighths: [7]string{"▏", "▎", "▍", "▌", "▋", "▊", "▉"},
	keyUp:   "↑", keyDown: "↓", keyLeft: "←", keyRight: "→",
}

var asciiGlyphs = glyphs{
	thin:  border{"-", "|", "+", "+", "+", "+"},
	heavy: border{"=", "#", "#", "#", "#", "#"},
	open:  "v", closed: ">",
	done: "+", active: "o", queued: ".",
	bad: "x", warn: "!", note: "i",
	none: "-", dash: "-",
	mark: "*", cursor: ">",
	times: "x", more: "~", dot: "-",
	up: "^", down: "v",
	on: "*", off: "o",
	barL: "[", barR: "]",
	full: "#", empty: ".",
	eighths: [7]string{"", "", "", "", "", "", ""},
	keyUp:   "up", keyDown: "down", keyLeft: "left", keyRight: "right",
}

// glyphs returns the symbols the terminal can show.
func (c canvas) glyphs() *glyphs {
	if c.ascii {
		return &asciiGlyphs
	}
	return &unicodeGlyphs
}

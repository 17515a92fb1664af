package tui

import "mergescope/themes"

// canvas is what a pane may know of the terminal while it draws.
type canvas struct {
	paint   *paint
	depth   themes.Depth
	ascii   bool // no characters outside ASCII
	dark    bool
	focused bool
}

// A pane draws its inside as exactly h lines of exactly w cells each, escape
// sequences not counted. The frame and the title around it are the app's. Panes
// are plain structs: the app changes them through methods in Update, draw
// changes nothing.
type pane interface {
	title(w int) (left, right string)
	draw(c canvas, w, h int) []string
}

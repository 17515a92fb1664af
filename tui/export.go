package tui

import (
	"bytes"
	"image/color"
	"image/png"
	"strings"

	tea "charm.land/bubbletea/v2"

	"mergescope/themes"
	"mergescope/tui/heat"
	"mergescope/tui/picture"
)

// exporter makes a file of what is on the screen.
type exporter struct {
	text, note string
	file       string // proposed name
	make       func(a *app) []byte
}

// openExport offers the ways to write what the focused pane shows.
func (a *app) openExport() tea.Cmd {
	var items []item
	for _, e := range a.exporters() {
		items = append(items, item{text: e.text, note: e.note, run: func(a *app) tea.Cmd {
			data := e.make(a) // as it is now, whatever happens until it has a name
			return a.askFile("write "+e.text, e.note, e.file, func(a *app, path string) tea.Cmd { return a.export(path, data) })
		}})
	}
	a.push(newPicker("export this view", "enter chooses · esc back", false, items))
	return nil
}

// exporters lists what can be written of the focused pane, and the screen.
func (a *app) exporters() []exporter {
	var all []exporter
	tables := func(name, what string, of func(a *app) *table) {
		all = append(all,
			exporter{what + " as CSV", "for spreadsheets", name + ".csv", func(a *app) []byte { return of(a).csv() }},
			exporter{what + " as JSON", "an array of objects", name + ".json", func(a *app) []byte { return of(a).json() }},
			exporter{what + " as Markdown", "a table for people", name + ".md", func(a *app) []byte { return of(a).markdown() }})
	}
	name := ""
	if l := a.book.layer(a.sight.layer); l != nil {
		name = layerFile(l.Weight)
	}
	switch a.focus {
	case layersID:
		tables("layers", "layers", func(a *app) *table { return a.tree.export() })
	case blocksID:
		if _, data, _ := a.blocks.shown(); data != nil {
			name += "-" + strings.ReplaceAll(a.blocks.metric.Info().Name, " ", "-")
			all = append(all,
				exporter{"map as PNG", "the colours alone, one square a cell", name + ".png", (*app).heatPNG},
				exporter{"map as SVG", "with title and legend", name + ".svg", (*app).heatSVG})
			tables(name, "cells of the map", func(a *app) *table { return a.blocks.export() })
		}
	case blockID:
		if a.block.trace != nil {
			cols := a.blocks.layer.Weight.Cols()
			tables(name+"-block", "weights of the block", func(a *app) *table { return a.block.export(cols) })
		}
	case alertsID:
		tables("alerts", "alerts", func(a *app) *table { return a.feed.export() })
	}
	return append(all, exporter{"screen as SVG", "a picture of the whole screen", "mergescope.svg", (*app).screenSVG})
}

// exportedMsg is the end of writing an export.
type exportedMsg struct {
	path string
	err  error
}

func (a *app) export(path string, data []byte) tea.Cmd {
	return a.work(func() tea.Msg { return exportedMsg{path, writeFile(path, data)} })
}

func (msg exportedMsg) arrive(a *app) tea.Cmd {
	if msg.err != nil {
		return a.say(themes.Bad, "not written: "+clean(msg.err.Error()))
	}
	return a.say(themes.Good, "written to "+clean(msg.path))
}

// heatPicture is the map as it is on the screen.
func (a *app) heatPicture() *heat.Picture {
	b := &a.blocks
	g, data, done := b.shown()
	scale := b.scale(b.spread(g, data))
	name := b.mapName(a.skin.theme)
	m, _ := themes.MapByName(name)
	p := &heat.Picture{
		Grid: heat.Grid{Rows: g.cellRows, Cols: g.cellCols, Cells: make([]heat.Cell, len(data))},
		Map:  m, Theme: a.skin.theme, Legend: b.legend(scale, name, &unicodeGlyphs),
	}
	for i, s := range data {
		p.Cells[i] = s.heat(scale, done)
	}
	long, _ := b.density(g)
	p.Title = clean(b.layer.Weight.Name) + "  " + b.metric.Info().Name + "  " + long
	return p
}

func (a *app) heatPNG() []byte {
	var b bytes.Buffer
	if png.Encode(&b, a.heatPicture().Image()) != nil { // a buffer takes everything
		return nil
	}
	return b.Bytes()
}

func (a *app) heatSVG() []byte { return []byte(a.heatPicture().SVG()) }

// screenSVG draws the screen without what lies over it.
func (a *app) screenSVG() []byte {
	over := a.overlays
	a.overlays = nil
	lines, _ := a.draw()
	a.overlays = over
	fg, bg := color.RGBA{0xd0, 0xd4, 0xdc, 0xff}, color.RGBA{0x14, 0x17, 0x1d, 0xff}
	if !a.skin.dark {
		fg, bg = color.RGBA{0x1c, 0x1c, 0x1c, 0xff}, color.RGBA{0xff, 0xff, 0xff, 0xff}
	}
	return []byte(picture.Parse(strings.Join(lines, "\n"), a.w, a.h).SVG(fg, bg))
}

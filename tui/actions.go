package tui

import (
	"strconv"

	tea "charm.land/bubbletea/v2"
)

// scope is where an action's keys work.
type scope uint16

const (
	inLayers scope = 1 << iota
	inBlocks
	inBlock
	inAlerts
	inExplain
	inInsight
	inCompare
	inTour
	inAudit
	inTexts
	inEval
	inPanes = inLayers | inBlocks | inBlock | inAlerts
	inAny   = inPanes | inExplain | inInsight | inCompare | inTour | inAudit | inTexts | inEval
)

// action is something the user can do. Keys, footer, help, palette and
// documentation all come from the registry.
type action struct {
	id    string
	keys  []string // as tea.KeyPressMsg.String spells them
	scope scope
	hint  string // word in the footer; "" leaves it out
	title string // palette and help
	help  string // a sentence for the documentation
	why   func(*app) string
	run   func(*app) tea.Cmd
}

// reason says why an action cannot run now, "" if it can.
func (x *action) reason(a *app) string {
	if x.why == nil {
		return ""
	}
	return x.why(a)
}

// do wraps a function that needs no command.
func do(f func(*app)) func(*app) tea.Cmd {
	return func(a *app) tea.Cmd {
		f(a)
		return nil
	}
}

// registry returns all actions in the order of the help.
func registry() []action {
	var all []action
	for _, part := range [][]action{planActions(), howActions(), jobActions(), workerActions(), demoActions(), layerActions(), blockActions(), chooseActions(), lensActions(), tourActions(), alertActions(), generalActions(), sizeActions(), aboutActions(), moveActions()} {
		all = append(all, part...)
	}
	return all
}

func planActions() []action {
	const edit = inLayers | inBlocks | inBlock
	return []action{
		{"plan.assign", []string{"a"}, edit, "adapter", "Assign adapter to marked…", "Choose an adapter for the marked layers, or for the current one.", (*app).noLayer, (*app).assignChosen},
		{"plan.all", []string{"A"}, inPanes, "all", "Assign adapter to all targets…", "Choose one adapter for every layer it targets.", nil, (*app).assignAll},
		{"plan.up", []string{"+"}, inLayers, "scale", "Scale up by 0.1", "Raise the scale of the adapter on the marked layers by 0.1; 1 is alpha/r.", (*app).noAdapterHere, func(a *app) tea.Cmd { return a.scaleBy(0.1) }},
		{"plan.down", []string{"-"}, inLayers, "", "Scale down by 0.1", "Lower the scale of the adapter on the marked layers by 0.1; negative subtracts.", (*app).noAdapterHere, func(a *app) tea.Cmd { return a.scaleBy(-0.1) }},
		{"plan.scale", []string{"="}, edit, "", "Set scale…", "Type the scale of the adapter on the marked layers.", (*app).noAdapterHere, (*app).askScale},
		{"plan.clear", []string{"d"}, edit, "", "Clear assignment", "Take all adapters off the marked layers.", (*app).noAdapterHere, (*app).clearChosen},
		{"plan.output", []string{"O"}, edit, "output", "Output form…", "Choose how the marked layers are written: as they were, bf16, f16, f32, keep or separate.", (*app).noLayer, (*app).chooseOutput},
		{"plan.method", []string{"R"}, edit, "", "Requantize by…", "Choose the method that finds the codes of the marked layers: as PEFT does, adapters summed first, dithered or calibrated.", (*app).noLayer, (*app).chooseMethod},
		{"plan.methods", nil, inPanes, "", "Requantize all layers by…", "Choose the method of every layer: as PEFT does, adapters summed first, dithered or calibrated.", nil, (*app).chooseMethodAll},
		{"plan.undo", []string{"z"}, inPanes, "undo", "Undo plan change", "Take back the last change of the plan.", (*app).noUndo, (*app).undo},
		{"plan.redo", []string{"Z"}, inPanes, "", "Redo plan change", "Make the change taken back again.", (*app).noRedo, (*app).redo},
		{"app.open", nil, inPanes, "", "Open checkpoint…", "Open another checkpoint, or one that was open before.", (*app).noSwitch, (*app).openCheckpoint},
		{"plan.load", nil, inPanes, "", "Load plan…", "Read a plan file and open the adapters it needs.", nil, (*app).askLoad},
		{"plan.open", nil, inPanes, "", "Open adapter…", "Open a PEFT adapter and choose where it goes.", nil, (*app).askAdapter},
		{"plan.combine", nil, inPanes, "", "Combine adapters…", "Make one adapter of several, as PEFT's add_weighted_adapter: linear, cat, svd, ties, dare and magnitude_prune.", (*app).noParts, (*app).askCombine},
		{"plan.save", []string{"s"}, inPanes, "", "Save plan…", "Write the plan to a file that the commands read.", nil, (*app).askSave},
	}
}

func jobActions() []action {
	return []action{
		{"job.dry", []string{"D"}, inPanes, "dry run", "Dry run", "Run the whole merge without writing and show what is kept.", (*app).noJob, (*app).dryRun},
		{"job.merge", []string{"m"}, inPanes, "merge", "Merge plan…", "Write the merged checkpoint to a new directory.", (*app).noJob, (*app).askMerge},
		{"job.rerun", []string{"r"}, inLayers | inBlocks | inBlock, "", "Run this layer again", "Dry run of the marked layers, or of the current one.", (*app).noRerun, (*app).rerun},
		{"job.cancel", []string{"x"}, inPanes | inEval, "cancel", "Cancel job", "Stop the running job; a merge can go on later where it stopped. A run of the model keeps the figures of what was run.", (*app).noRunning, (*app).askCancel},
		{"job.pause", []string{"p"}, inPanes, "pause", "Pause or resume job", "Hold the workers, or let them go on.", (*app).noRunning, (*app).pause},
	}
}

func demoActions() []action {
	return []action{
		{"demo.broken", []string{"B"}, inPanes, "broken", "Demo: broken adapter", "Put the demo's adapter with planted NaN and infinite values on, and back.", (*app).noDemo, (*app).toggleBroken},
		{"demo.next", []string{"t"}, inPanes, "next adapter", "Demo: next adapter", "Try the next adapter of the demo: light, middle, strong.", (*app).noDemo, (*app).nextDemo},
	}
}

func layerActions() []action {
	return []action{
		{"mark.toggle", []string{"space"}, inLayers, "mark", "Mark", "Mark the layer or the whole group, so that edits reach all marked ones.", nil, do(func(a *app) { a.tree.mark() })},
		{"mark.range", []string{"V"}, inLayers, "", "Mark range", "Begin a range at the cursor; V or space ends it.", nil, (*app).markRange},
		{"mark.all", []string{"*"}, inLayers, "", "Mark matching", "Mark every layer that the filter shows.", nil, (*app).markMatching},
		{"mark.none", []string{"u"}, inLayers, "", "Unmark all", "Forget all marks.", nil, do(func(a *app) { a.tree.markAll(false) })},
		{"tree.filter", []string{"/"}, inPanes, "filter", "Filter layers…", "Show only layers that match words or terms such as kept<0.1, layer:0-3, type:q_proj, alert:erased, format:nf4, plan:none, output:bf16, is:marked, with and, or, not and parentheses.", nil, (*app).beginFilter},
		{"tree.sort", []string{"o"}, inLayers, "", "Sort by next column", "Sort by kept, error, codes changed, delta ratio and so on, or as in the model.", nil, (*app).sortNext},
		{"tree.sort.by", nil, inPanes, "", "Sort layers by…", "Choose the figure to sort by.", nil, (*app).chooseSort},
		{"tree.sort.turn", nil, inPanes, "", "Reverse the sort", "The same figure the other way round.", (*app).noSort, (*app).sortTurn},
		{"tree.expand", []string{"E"}, inLayers, "", "Expand all groups", "Open all groups.", nil, do(func(a *app) { a.tree.foldAll(false) })},
		{"tree.collapse", []string{"C"}, inLayers, "", "Collapse all groups", "Close all groups.", nil, do(func(a *app) { a.tree.foldAll(true) })},
	}
}

func blockActions() []action {
	const (
		here   = inLayers | inBlocks | inExplain | inInsight | inCompare | inAudit
		inMaps = inBlocks | inCompare
	)
	return []action{
		{"blocks.in", []string{"+"}, inMaps, "zoom", "Zoom in", "From the tensor to a band of rows to one block.", nil, (*app).zoomIn},
		{"blocks.out", []string{"-"}, inMaps, "", "Zoom out", "Back towards the whole tensor, then to what is kept over the depth of the model.", nil, (*app).zoomOut},
		{"blocks.worst", []string{"w"}, here, "worst", "Go to the worst", "To the layer that keeps least, the worst block of the layer, or the worst weight of the block.", nil, (*app).goWorst},
		{"blocks.next", []string{"n"}, here, "", "Next hot place", "To the next layer with an alert, the next hot block, or the next block.", nil, func(a *app) tea.Cmd { return a.goNext(1) }},
		{"blocks.prev", []string{"N"}, here, "", "Previous hot place", "The same backwards.", nil, func(a *app) tea.Cmd { return a.goNext(-1) }},
		{"blocks.metric", []string{"v"}, inMaps | inInsight, "metric", "Next metric", "Kept, SNR, relative error, codes changed, absmax growth, largest error, non-finite, kept on inputs; of the insight kept or kept on inputs.", nil, (*app).nextMetric},
		{"blocks.aggregate", []string{"b"}, inMaps, "", "Next aggregate", "What a cell shows of the blocks under it: the worst, the 99th percentile or the mean.", nil, func(a *app) tea.Cmd { return a.onMap((*blocksPane).cycleAggregate) }},
		{"blocks.map", []string{"c"}, inMaps, "", "Next colour map", "Magma, viridis, cividis, gray, diverging.", nil, func(a *app) tea.Cmd { return a.onMap((*blocksPane).cycleMap) }},
		{"blocks.log", []string{"S"}, inMaps, "", "Logarithmic or linear scale", "Switch the scale of the colours.", nil, func(a *app) tea.Cmd { return a.onMap((*blocksPane).toggleLog) }},
		{"blocks.lock", []string{"L"}, inBlocks, "", "Lock the scale", "Keep the ends of the scale while looking at other layers.", nil, func(a *app) tea.Cmd { return a.view(a.blocks.toggleLock()) }},
		{"tensor.prev", []string{"["}, inPanes | inCompare, "", "Previous layer", "Look at the layer before, from any pane.", nil, func(a *app) tea.Cmd { return a.stepLayer(-1) }},
		{"tensor.next", []string{"]"}, inPanes | inCompare, "", "Next layer", "Look at the layer after, from any pane.", nil, func(a *app) tea.Cmd { return a.stepLayer(1) }},
		{"block.explain", []string{"e"}, inLayers | inBlocks | inBlock, "explain", "Explain this weight", "Dequantize, add, requantize: every step of one weight with its numbers.", (*app).noTrace, (*app).openExplain},
		{"block.view", []string{"i"}, inBlock | inInsight | inAudit | inTexts | inEval, "view", "Next view", "Of a block the occupancy of its codes, the list of its weights, its bytes; of the insight the next chart, of an audit or a run the next table, of texts the next variant.", nil, (*app).nextView},
	}
}

func alertActions() []action {
	return []action{
		{"alerts.explain", []string{"e"}, inAlerts, "explain", "Explain this alert", "The whole alert and what to do about it.", (*app).noAlert, (*app).openAlert},
		{"alerts.level", []string{"f"}, inAlerts, "level", "Filter alerts by level", "All, warnings and errors, or errors only.", nil, func(a *app) tea.Cmd { return a.view(a.feed.cycleLevel()) }},
		{"alerts.ack", []string{"M"}, inAlerts, "acknowledge", "Acknowledge", "Take the alert, or all of its kind, out of the counts.", (*app).noAlert, func(a *app) tea.Cmd { return a.acknowledge(false) }},
		{"alerts.all", nil, inPanes, "", "Acknowledge all alerts", "Take every alert out of the counts.", nil, func(a *app) tea.Cmd { return a.acknowledge(true) }},
	}
}

func generalActions() []action {
	all := []action{
		{"go.in", []string{"enter"}, inPanes | inInsight | inAudit | inEval, "", "Open", "Open a group, go from layer to blocks to block to explanation, to the place of an alert, to a layer of a chart or an audit, or take the plan of a rung.", nil, (*app).goIn},
		{"go.back", []string{"esc"}, inAny, "", "Back", "Close what is open, end a range, clear the filter, zoom out, go back to the layers. Never quits.", nil, (*app).goBack},
		{"pane.next", []string{"tab"}, inPanes, "pane", "Next pane", "Move the focus to the next pane.", nil, func(a *app) tea.Cmd { return a.nextPane(1) }},
		{"pane.prev", []string{"shift+tab"}, inPanes, "", "Previous pane", "Move the focus to the pane before.", nil, func(a *app) tea.Cmd { return a.nextPane(-1) }},
	}
	for p := layersID; p <= alertsID; p++ {
		n := strconv.Itoa(int(p))
		all = append(all, action{
			"pane." + n,
			[]string{n},
			inPanes, "", "Go to " + paneNames[p], "Move the focus to the " + paneNames[p] + " pane.", nil,
			do(func(a *app) { a.setFocus(p) }),
		})
	}
	return append(all, []action{
		{"pane.full", []string{"U"}, inPanes, "", "Full screen", "Give the whole room to the focused pane, and back.", nil, (*app).toggleFull},
		{"app.copy", []string{"y"}, inAny, "", "Copy", "Copy what the cursor is on to the clipboard (OSC 52).", nil, (*app).copy},
		{"app.export", []string{"X"}, inPanes, "", "Export this view…", "Write what the pane shows as CSV, JSON or Markdown, the map as PNG or SVG, or a picture of the screen.", nil, (*app).openExport},
		{"app.command", []string{"Y"}, inPanes, "", "Copy plan as command line", "Copy the command that does the same without the interface.", (*app).noPlanned, (*app).copyCommand},
		{"app.palette", []string{":", "ctrl+p"}, inPanes, "commands", "Commands…", "Search all commands.", nil, (*app).openPalette},
		{"app.help", []string{"?"}, inAny, "help", "Help", "All keys that work here.", nil, (*app).openHelp},
		{"app.advice", nil, inPanes, "", "When to merge and when not", "What PEFT's documentation and maintainers advise.", nil, (*app).openAdvice},
		{"app.theme", []string{"T"}, inPanes, "", "Next theme", "Dark, light, their classic forms, and yours.", nil, (*app).nextTheme},
		{"app.theme.pick", nil, inPanes, "", "Choose theme…", "All themes, shown as the cursor goes over them; yours are JSON files and followed while you edit them.", nil, (*app).chooseTheme},
		{"app.mouse", nil, inPanes, "", "Mouse on or off", "Release the mouse to the terminal, or take it; shift+drag selects text in most terminals.", nil, (*app).toggleMouse},
		{"app.ascii", nil, inPanes, "", "ASCII only", "Draw without characters outside ASCII, or with them.", nil, do(func(a *app) { a.skin.ascii = !a.skin.ascii })},
		{"app.redraw", []string{"ctrl+l"}, inAny, "", "Redraw", "Draw the whole screen anew.", nil, func(*app) tea.Cmd { return tea.ClearScreen }},
		{"app.suspend", []string{"ctrl+z"}, inAny, "", "Suspend", "Stop the program until fg; a running job stops with it.", nil, (*app).suspend},
		{"app.quit", []string{"q", "ctrl+c"}, inAny, "quit", "Quit", "Leave; asks while a job writes or the plan is not saved.", nil, (*app).quit},
	}...)
}

func moveActions() []action {
	move := func(id string, keys []string, title string, f func(*app) tea.Cmd) action {
		return action{"move." + id, keys, inAny, "", title, "", nil, f}
	}
	return []action{
		move("up", []string{"up", "k"}, "Up", func(a *app) tea.Cmd { return a.move(-1, 0) }),
		move("down", []string{"down", "j"}, "Down", func(a *app) tea.Cmd { return a.move(1, 0) }),
		move("left", []string{"left", "h"}, "Left, close", func(a *app) tea.Cmd { return a.move(0, -1) }),
		move("right", []string{"right", "l"}, "Right, open", func(a *app) tea.Cmd { return a.move(0, 1) }),
		move("half-up", []string{"ctrl+u"}, "Half a page up", func(a *app) tea.Cmd { return a.page(-1, 2) }),
		move("half-down", []string{"ctrl+d"}, "Half a page down", func(a *app) tea.Cmd { return a.page(1, 2) }),
		move("page-up", []string{"pgup"}, "Page up", func(a *app) tea.Cmd { return a.page(-1, 1) }),
		move("page-down", []string{"pgdown"}, "Page down", func(a *app) tea.Cmd { return a.page(1, 1) }),
		move("top", []string{"g", "home"}, "First", func(a *app) tea.Cmd { return a.move(-farAway, 0) }),
		move("bottom", []string{"G", "end"}, "Last", func(a *app) tea.Cmd { return a.move(farAway, 0) }),
	}
}

package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"mergescope/merge"
)

// textWidth is where prose wraps in tables of text.
const textWidth = 100

// alertGroup is what alerts of one level and code have in common on paper.
type alertGroup struct {
	alerts []merge.Alert
	count  int
}

// groupAlerts puts alerts of the same level and code together, in the order in
// which they first come.
func groupAlerts(alerts []merge.Alert) []alertGroup {
	type key struct {
		level merge.Level
		code  merge.Code
	}
	at := map[key]int{}
	var groups []alertGroup
	for _, al := range alerts {
		k := key{al.Level, al.Code}
		i, ok := at[k]
		if !ok {
			i = len(groups)
			at[k] = i
			groups = append(groups, alertGroup{})
		}
		groups[i].alerts = append(groups[i].alerts, al)
		groups[i].count += al.Count
	}
	return groups
}

// printAlerts lists alerts by code, each code with its remedy. Errors are listed
// one by one, of the others the first speaks for all: the table names the rest.
func printAlerts(w io.Writer, alerts []merge.Alert) {
	for _, g := range groupAlerts(alerts) {
		first := g.alerts[0]
		fmt.Fprintf(w, "%-8s %s", first.Level, first.Code)
		switch {
		case first.Layer != "":
			fmt.Fprintf(w, " in %s", plural(len(g.alerts), "layer"))
		case g.count > 1:
			fmt.Fprintf(w, ", %d times", g.count)
		}
		fmt.Fprintln(w)
		show := 1
		if first.Level == merge.Error {
			show = 10
		}
		show = min(show, len(g.alerts))
		for _, al := range g.alerts[:show] {
			text := al.Message
			if al.Layer != "" {
				text = al.Layer + ": " + text
			}
			printWrapped(w, text)
			if at := al.Place.String(); al.Place.Tensor != "" && !strings.Contains(al.Message, at) {
				printWrapped(w, "at "+at)
			}
		}
		if rest := len(g.alerts) - show; rest > 0 {
			printWrapped(w, fmt.Sprintf("and %d more", rest))
		}
		if first.Hint != "" {
			printWrapped(w, "hint: "+first.Hint)
		}
	}
}

// printWrapped writes text indented under the code of an alert.
func printWrapped(w io.Writer, text string) {
	const indent = "         "
	line := indent
	for word := range strings.FieldsSeq(text) {
		if len(line) > len(indent) && utf8.RuneCountInString(line+word) > textWidth {
			fmt.Fprintln(w, strings.TrimRight(line, " "))
			line = indent + "  "
		}
		line += word + " "
	}
	fmt.Fprintln(w, strings.TrimRight(line, " "))
}

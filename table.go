package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// table is a plain text table. Columns are as wide as their widest cell; a
// column whose head begins with ">" is aligned right.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the table, two blanks between columns.
func (t *table) write(w io.Writer) {
	width := make([]int, len(t.head))
	right := make([]bool, len(t.head))
	head := make([]string, len(t.head))
	for i, h := range t.head {
		head[i], right[i] = strings.TrimPrefix(h, ">"), strings.HasPrefix(h, ">")
		width[i] = utf8.RuneCountInString(head[i])
	}
	for _, row := range t.rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(row []string) {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if right[i] {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
			b.WriteString("  ")
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	line(head)
	for _, row := range t.rows {
		line(row)
	}
}

// dash stands for a figure that does not exist.
const dash = "-"

// number formats v with digits after the point, or as a dash.
func number[F ~float64](v F, digits int) string {
	if math.IsNaN(float64(v)) {
		return dash
	}
	return fmt.Sprintf("%.*f", digits, float64(v))
}

// percent formats a share of 0..1.
func percent[F ~float64](v F, digits int) string {
	if math.IsNaN(float64(v)) {
		return dash
	}
	return fmt.Sprintf("%.*f %%", digits, 100*float64(v))
}

// short formats v with three significant digits.
func short[F ~float64](v F) string {
	if math.IsNaN(float64(v)) {
		return dash
	}
	return fmt.Sprintf("%.3g", float64(v))
}

// plural returns "1 layer", "3 layers".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// byteSize formats a number of bytes with a decimal unit.
func byteSize(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	i := -1
	for v >= 1000 && i < len(units)-1 {
		v /= 1000
		i++
	}
	return fmt.Sprintf("%.1f %cB", v, units[i])
}

// Package tui is the terminal interface: one Bubble Tea model, panes that are
// plain structs and draw themselves, a pure layout function, and one registry
// of actions that feeds keys, help, palette and documentation.
//
// It does no arithmetic on weights. What it shows comes from snapshots of
// package merge, polled ten times a second while a job runs; nothing here can
// block a worker.
package tui

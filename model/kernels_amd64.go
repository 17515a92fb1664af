//go:build amd64 && gc && !noasm

package model

func dot(y []float32, stride int, x, w []float32, k int, add bool) { dotGo(y, stride, x, w, k, add) }

func packPanel(panel, src []float32, rows, cols int) { packPanelGo(panel, src, rows, cols, 0) }

func expAll(x []float32) { expGo(x) }

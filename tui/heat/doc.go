// Package heat turns matrices of numbers into lines of terminal text.
//
// Where there are colours a character holds two values, one above the other,
// as the foreground and the background of a half block; with sixteen colours,
// without colours or in ASCII it holds one value as a character of more or less
// ink. Values that are no numbers never share the ramp: each kind has its own
// glyph. The package writes its escape sequences itself, from strings prepared
// per step of the ramp, since styling every cell through a library is some
// hundred times slower.
package heat

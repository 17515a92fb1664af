// Package picture turns frames of text with escape sequences into cells, and
// cells into pictures.
package picture

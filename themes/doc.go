// Package themes holds colours: the roles a screen is drawn with, built-in
// light and dark themes, user themes as JSON, and the colour maps of heatmaps
// for every colour depth. It imports nothing outside the standard library and
// knows nothing of terminals.
package themes

package tokenizer

import "strings"

// runeOf and byteOf are GPT-2's bijection of bytes and printable characters
// (encoder.py, bytes_to_unicode).
var runeOf, byteOf = byteRunes()

func byteRunes() (runes [256]rune, bytes map[rune]byte) {
	bytes = map[rune]byte{}
	next := rune(256)
	for b := range runes {
		r := rune(b)
		if r < '!' || r > '~' && r < '¡' || r == 0xAD {
			r = next
			next++
		}
		runes[b], bytes[r] = r, byte(b)
	}
	return runes, bytes
}

// toRunes writes every byte of a text as its character.
func toRunes(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteRune(runeOf[text[i]])
	}
	return b.String()
}

// toBytes is the inverse; a token with other characters is returned as it is.
func toBytes(token string) string {
	b := make([]byte, 0, len(token))
	for _, r := range token {
		c, ok := byteOf[r]
		if !ok {
			return token
		}
		b = append(b, c)
	}
	return string(b)
}

// byteToken is the name of a byte in vocabularies with byte fallback.
func byteToken(b byte) string {
	const digits = "0123456789ABCDEF"
	return "<0x" + string(digits[b>>4]) + string(digits[b&15]) + ">"
}

package config

import (
	"slices"
	"strings"
	"unicode"
)

// Closest returns the candidate that was probably meant by a mistyped word; empty: none is near.
func Closest(word string, candidates []string) string { return closest(word, candidates) }

// closest returns the candidate that was probably meant by a mistyped word, or "". Case and the
// difference between "-", "_", blanks and a leading colon do not count.
func closest(word string, candidates []string) string {
	const longest = 40 // longer than every key; keeps the comparison cheap for garbage
	if len(word) > longest {
		return ""
	}
	best, least := "", len(word)/3+1
	for _, candidate := range candidates {
		if d := distance(plainWord(word), plainWord(candidate)); d < least || d == least && best == "" {
			best, least = candidate, d
		}
	}
	return best
}

// plainWord removes the differences that closest ignores.
func plainWord(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_ :", r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// distance is the number of characters to insert, delete, replace or swap with their neighbour to
// get from a to b (optimal string alignment).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, last := []int(nil), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := range s {
		row := make([]int, len(t)+1)
		row[0] = i + 1
		for j := range t {
			row[j+1] = min(last[j+1], row[j]) + 1
			row[j+1] = min(row[j+1], last[j]+differ(s[i], t[j]))
			if i > 0 && j > 0 && s[i] == t[j-1] && s[i-1] == t[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(t)]
}

func differ(a, b rune) int {
	if a == b {
		return 0
	}
	return 1
}

// sentence joins words as "a, b or c".
func sentence(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	head := slices.Clone(words[:len(words)-1])
	return strings.Join(head, ", ") + " or " + words[len(words)-1]
}

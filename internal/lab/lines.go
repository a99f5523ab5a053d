package lab

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseLines makes lines from what people type: how many (0: as many as there are rates, at least 2), their rates
// and weights, separated by commas. A single rate or weight is that of every line; without weights
// they are in the proportion of the rates.
func ParseLines(n int, rates, weights string) ([]Line, error) {
	words := strings.Split(rates, ",")
	if n == 0 {
		n = max(2, len(words))
	}
	if n < 2 || n > maxLines {
		return nil, fmt.Errorf("%d lines: want 2 to %d", n, maxLines)
	}
	lines, least := make([]Line, n), Rate(math.MaxInt64)
	for i := range lines {
		word, err := pick(words, i, n)
		if err != nil {
			return nil, fmt.Errorf("rates %q: %w", rates, err)
		}
		if lines[i].Rate, err = ParseRate(word); err != nil {
			return nil, err
		}
		least = min(least, lines[i].Rate)
	}
	for i := range lines {
		lines[i].Weight = min(int(math.Round(float64(lines[i].Rate)/float64(least))), 256)
		if weights == "" {
			continue
		}
		word, err := pick(strings.Split(weights, ","), i, n)
		if err != nil {
			return nil, fmt.Errorf("weights %q: %w", weights, err)
		}
		w, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || w < 1 || w > 256 {
			return nil, fmt.Errorf("weight %q: want 1 to 256", word)
		}
		lines[i].Weight = w
	}
	return lines, nil
}

// pick returns the word of line i of n.
func pick(words []string, i, n int) (string, error) {
	switch len(words) {
	case 1:
		return words[0], nil
	case n:
		return words[i], nil
	default:
		return "", errors.New("want one for all lines, or one for each of " + strconv.Itoa(n))
	}
}

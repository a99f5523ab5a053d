package firewall

import "ftr/internal/config"

// Turn is a line's part in the dealing of new connections.
type Turn struct {
	Family config.Family
	Policy int // config.Policy.Number; 0: for connections of no policy
	Uplink int // config.Uplink.Index
	Weight int // at least 1
}

// longestCycle is how many turns a cycle may have: weights are rounded where exactness would take more.
const longestCycle = 4096

// cycle returns whose turn it is at each step, so that each uplink gets exactly its weight in any row of
// as many connections as the cycle is long, and its turns are spread over the cycle: at each step it is
// the turn of the one who is owed most (smooth weighted round robin).
func cycle(turns []Turn) []int {
	weights, total := reduced(turns)
	owed := make([]int, len(turns))
	var order []int
	for range total {
		most := 0
		for i, w := range weights {
			owed[i] += w
			if owed[i] > owed[most] {
				most = i
			}
		}
		owed[most] -= total
		order = append(order, turns[most].Uplink)
	}
	return order
}

// reduced returns the smallest weights with the same proportions, and their sum.
func reduced(turns []Turn) (weights []int, total int) {
	divisor := 0
	for _, t := range turns {
		divisor = config.Divisor(divisor, t.Weight)
		total += t.Weight
	}
	if total == 0 {
		return nil, 0
	}
	scale := max(divisor, (total+longestCycle-1)/longestCycle)
	total = 0
	for _, t := range turns {
		w := max(1, (t.Weight+scale/2)/scale)
		weights, total = append(weights, w), total+w
	}
	return weights, total
}

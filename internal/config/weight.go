package config

// Divisor returns the greatest common divisor of two weights, one of which may be 0: divided by it they
// are the smallest with the same shares.
func Divisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

package routing

// Op is what a step does.
type Op uint8

// The operations. "Already there" and "already gone" are success for whoever applies them.
const (
	Add     Op = iota // create
	Replace           // create, or change in place what has the same table, destination and metric
	Delete            // remove exactly this
	Set               // write a sysctl
)

// Step is one change of the kernel's state. Exactly one of Route, Rule and Sysctl is set.
type Step struct {
	Op     Op
	Route  *Route
	Rule   *Rule
	Sysctl *Sysctl
	Old    string // Set: the value found, for saving and for people
}

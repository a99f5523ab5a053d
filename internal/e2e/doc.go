// Package e2e tests the built program, as a user starts it, in whole networks of namespaces: real
// clients and servers, real traffic, real failures. It holds tests only.
//
// The figures of docs/benchmarks.md are made by "make bench", which runs what the build tag bench adds.
package e2e

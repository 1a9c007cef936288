// Package policy decides what a shared cache may do with an answer by RFC 9111, and where this product binds tighter: the
// caps on freshness, and the rule that an answer which may hold a consent to text messages is never old.
//
// Everything here is a function of values. There is no I/O, and no clock: instants are arguments.
package policy

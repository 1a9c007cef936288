// Package knock is the contract of the upstream, Knock's syndication API, whole: what a prospect id is, what an answer
// means, the few of its fields that the proxy reads, and the client that asks for one prospect.
//
// Sources are Knock's public help articles, above all "Knock Get Prospect API". What they do not state is not relied on.
package knock

// Package wire is what the admin API and --json say: the JSON types, the names
// of problems with the errors that they stand for, and the list format.
//
// There is one set of types, so what "dagstore ls --json" prints is what
// GET /api/v1/shards answers with. Fields are only ever added, and none is
// given another meaning.
//
//	problem := wire.ProblemOf(err)       // the server: an error becomes JSON
//	errors.Is(problem.Err(), shard.ErrHeld) // the client: and an error again
//
// Names of problems are as stable as fields: [Problems] has one for each
// sentinel of the library, with its HTTP status.
package wire

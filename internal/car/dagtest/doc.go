// Package dagtest keeps DAGs in memory for tests of what reads them: UnixFS
// files, folders and symlinks, blocks of any codec, and blocks that are
// missing or cannot be read.
//
//	m := dagtest.New(t)
//	root := m.Folder(false, map[string]ipld.Node{"file": m.File("text")})
//	m.Fail(root.Cid(), err)
//
// CARs are made by the package beside it, cartest.
package dagtest

// Package pack makes CARs of files and folders, as UnixFS.
//
//	out, err := os.Create("photos.car")
//	...
//	made, err := pack.Write(ctx, out, []string{"photos"}, pack.Options{Profile: pack.V1})
//	fmt.Println(made.Root)
//
// How files are cut into blocks and folders are written is said by a profile of
// IPIP-499, so that everybody who packs the same bytes by the same profile gets
// the same CIDs. The same input gives the same CAR, byte for byte: blocks come in
// the order in which a walk by rising name completes them, what is linked to
// before what links to it, and none twice. Memory is bounded by the largest
// folder and by the number of blocks, of which the CIDs are kept.
package pack

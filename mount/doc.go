// Package mount says where CARs lie and how their bytes are reached.
//
// A [Mount] is one CAR at one place. Three methods make one; two optional
// interfaces, [RangeOpener] and [FileOpener], make it fast, and a third,
// [SiblingOpener], finds what lies beside it; callers reach them through
// [OpenRange], [OpenFile] and [OpenSibling]. A [Registry] makes a Mount again
// from its URL, which is all that a store remembers of it:
//
//	reg := mount.Registry{"file": filemount.Open}
//	m, err := reg.Open("file:///srv/cars/photos.car")
//	if err != nil {
//		return err
//	}
//	r, err := m.Open(ctx)
//	if err != nil {
//		return err
//	}
//	defer r.Close()
//
// [Section] is a part of any mount, for a CAR that lies inside something
// larger. Check an implementation with package mounttest. The kinds live in
// packages of their own, such as filemount and memmount, so that a program
// links only those that it names. This package and the local kinds link the
// standard library only.
package mount

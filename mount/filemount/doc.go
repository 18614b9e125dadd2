// Package filemount mounts CARs that lie on this machine's file systems. They
// are read in place: nothing is copied, nothing is ever deleted or changed.
//
//	m, err := filemount.New("photos.car")
//	if err != nil {
//		return err
//	}
//	fmt.Println(m.URL()) // file:///home/ann/photos.car
//
// Only regular files are read. A folder, a pipe, a socket or a device is
// refused with [ErrNotRegular] without waiting for anybody at its other end,
// also when it takes the place of a file at the last moment.
//
// The URL of a file is "file://" and the path, percent-escaped byte by byte,
// so that it survives whatever the path is made of. On Windows the drive
// follows the third slash (file:///C:/cars/photos.car) and the host of a
// share stands where hosts stand (file://nas/cars/photos.car).
package filemount

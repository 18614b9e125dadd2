package watch

import "errors"

// An ear hears of changes in folders from the file system. Its methods are
// called under the lock of its folder.
type ear interface {
	// listenTo has it hear of a folder, which is called below.
	listenTo(path, below string) error
	// beginLook and endLook frame a whole look: what it has not listened to
	// in between is not there any more.
	beginLook()
	endLook()
	close()
}

// The reasons why not all is told of.
var (
	errTooMany = errors.New("there are more folders than the system tells of (fs.inotify.max_user_watches)")
	errDistant = errors.New("what other machines or programs change in this file system is not told of")
)

// listen has the file system tell of changes, if it can. The caller calls stop
// once.
func (p *place) listen() (stop func()) {
	d := p.folder
	e, err := newEar(d.hears)
	d.mu.Lock()
	d.ear, d.deaf = e, err
	d.mu.Unlock()
	if err != nil {
		p.tell(Event{What: Deaf, Err: err})
		return func() {}
	}
	return func() {
		d.mu.Lock()
		d.ear = nil
		d.mu.Unlock()
		e.close()
	}
}

func (d *folder) beginLook() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ear != nil {
		d.deaf = nil
		d.ear.beginLook()
	}
}

// sayDeaf tells, once for each reason, that the file system does not tell of
// all folders.
func (p *place) sayDeaf() {
	d := p.folder
	if d == nil {
		return
	}
	d.mu.Lock()
	why := d.deaf
	if d.ear == nil || why == nil || d.said == why.Error() {
		why = nil
	} else {
		d.said = why.Error()
	}
	d.mu.Unlock()
	if why != nil {
		p.tell(Event{What: Deaf, Err: why})
	}
}

func (d *folder) endLook() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ear != nil {
		d.ear.endLook()
	}
}

// listenTo has the file system tell of one more folder. Once there are too
// many, no more are asked for until the next look.
func (d *folder) listenTo(below string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ear == nil {
		return
	}
	if err := d.ear.listenTo(d.at(below), below); err != nil && d.deaf == nil {
		d.deaf = err
	}
}

// told says how far the file system tells of changes.
func (d *folder) told() Told {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.ear == nil:
		return None
	case d.deaf != nil:
		return Some
	}
	return All
}

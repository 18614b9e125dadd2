package s3mount

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// provider gives what a test wants.
type provider struct {
	expired  atomic.Bool
	retrieve func(context.Context) (credentials.Value, error)
}

func (p *provider) IsExpired() bool { return p.expired.Load() }

func (p *provider) Retrieve() (credentials.Value, error) { panic("without a context") }

func (p *provider) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	return p.retrieve(cc.Context)
}

// While keys are renewed that are still good nobody waits for the new ones.
func TestRenewal(t *testing.T) {
	value := func(key string) credentials.Value {
		return credentials.Value{AccessKeyID: key, SecretAccessKey: "x", Expiration: time.Now().Add(time.Hour)}
	}
	release, began := make(chan struct{}), make(chan struct{}, 1)
	p := new(provider)
	p.retrieve = func(context.Context) (credentials.Value, error) { return value("old"), nil }
	k := &keyring{provider: p}
	if v, err := k.get(t.Context()); v.AccessKeyID != "old" || err != nil {
		t.Fatal(v, err)
	}
	p.retrieve = func(context.Context) (credentials.Value, error) {
		began <- struct{}{}
		<-release
		p.expired.Store(false)
		return value("new"), nil
	}
	p.expired.Store(true)
	for range 3 {
		if v, err := k.get(t.Context()); v.AccessKeyID != "old" || err != nil {
			t.Fatal(v, err)
		}
	}
	<-began
	close(release)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		v, err := k.get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v.AccessKeyID == "new" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new keys never come")
		}
	}
	if len(began) != 0 {
		t.Error("they were fetched twice")
	}
}

// A provider that fails, or panics, fails those who wait, and not the next.
func TestFailingProvider(t *testing.T) {
	for _, fail := range []func(context.Context) (credentials.Value, error){
		func(context.Context) (credentials.Value, error) { return credentials.Value{}, errors.New("no") },
		func(context.Context) (credentials.Value, error) { return credentials.Value{}, nil },
		func(context.Context) (credentials.Value, error) { panic("SECRET-MARKER") },
	} {
		p := &provider{retrieve: fail}
		k := &keyring{provider: p}
		if v, err := k.get(t.Context()); !errors.Is(err, ErrCredentials) || v != (credentials.Value{}) {
			t.Errorf("it gives %v", err)
		}
		p.retrieve = func(context.Context) (credentials.Value, error) {
			return credentials.Value{AccessKeyID: "k", SecretAccessKey: "x"}, nil
		}
		if v, err := k.get(t.Context()); v.AccessKeyID != "k" || err != nil {
			t.Errorf("the next gets %v", err)
		}
	}
}

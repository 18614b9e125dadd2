// Package ftpmount mounts CARs that lie on FTP servers (RFC 959, with SIZE,
// MDTM, REST and MLST of RFC 3659, EPSV of RFC 2428 and TLS of RFC 4217).
//
//	client := ftpmount.New(ftpmount.Config{})
//	defer client.Close()
//	reg := mount.Registry{"ftp": client.Open, "ftpes": client.Open, "ftps": client.Open}
//
// Three schemes say how a server is spoken to, as in FileZilla and lftp:
//
//	ftp://host/    in the clear, port 21
//	ftpes://host/  TLS that the client asks for ("explicit", AUTH TLS), port 21
//	ftps://host/   TLS from the first byte ("implicit"), port 990, as in curl
//
// The path of a URL begins at the folder that a login leads to, as RFC 1738
// says; a second slash (ftp://host//srv/x.car) makes it absolute. A URL holds no
// user and no password: [Config] has them, by host. Without them the user is
// "anonymous". A password goes over plain FTP only where its [Login] allows it.
//
// A transfer takes a connection of its own, and logging in takes some seven round
// trips, so connections are kept and used again. There are at most
// [Config].MaxConns to a host. Who needs one more waits; a stream that nobody
// has read for a while meanwhile gives up its connection, and goes on with
// another from the same byte, if the file is still the same.
//
// The data come from the host that was logged in to, whatever address its
// answers name.
package ftpmount

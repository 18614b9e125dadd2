package admin

import (
	_ "embed"
	"net/http"
)

// openAPI is the document, which a test prints of the routes and holds against
// them.
//
//go:embed openapi.json
var openAPI []byte

func (s *Server) getOpenAPI(c *call) error {
	c.began = true
	c.w.Header().Set("Content-Type", mimeJSON)
	c.w.WriteHeader(http.StatusOK)
	_, err := c.w.Write(openAPI)
	return err
}

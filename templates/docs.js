// Shows the API's description. "Try it out" calls the origin that served this page, whatever PUBLIC_URL says.
fetch("openapi.json")
  .then((answer) => answer.json())
  .then((description) => {
    const here = new URL(".", window.location.href).href.replace(/\/$/, "");
    window.ui = SwaggerUIBundle({
      dom_id: "#docs",
      spec: { ...description, servers: [{ url: here }] },
      deepLinking: true,
      docExpansion: "list",
      filter: true,
      persistAuthorization: false,
      tryItOutEnabled: true,
      validatorUrl: null,
    });
  });

"""The API's page at ``/docs``: Swagger UI 5.35 (Apache-2.0), served from the package, so that it works offline and no
browser tells anybody else that the server exists.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

_ASSETS = "/docs/assets"


def add_api_page(app: FastAPI) -> None:
    """Add ``/docs`` and its script, style and icon to ``app``, whose own page must be switched off."""
    app.mount(_ASSETS, StaticFiles(directory=Path(__file__).parent / "swagger_ui"), name="api-page-assets")
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "/openapi.json",
        title=f"{app.title} API",
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon-32x32.png",
    )

    @app.get("/docs", include_in_schema=False)
    async def api_page() -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        return page

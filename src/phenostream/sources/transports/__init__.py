"""One module a transport, named as the URL scheme it serves; ``https`` serves ``http`` too, ``local`` serves paths."""

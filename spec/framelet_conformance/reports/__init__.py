"""Views of the results: terminal, HTML, JSON and JUnit XML."""

"""Result tables, figures, the HTML page, and the comparison with the published scores."""

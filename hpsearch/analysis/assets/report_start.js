draw(JSON.parse(document.getElementById("figures").textContent));

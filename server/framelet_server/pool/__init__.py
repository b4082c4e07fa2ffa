"""All clients: accepted, admitted, served by workers, drained."""

"""A case as a picture: both paths, their TLS legs, who could read what, and where it stopped.

lanes     a result of a case -> the texts of each path
drawing   these texts -> SVG, wide or narrow
"""

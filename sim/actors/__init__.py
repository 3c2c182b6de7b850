"""Everyone but the ego: IDM traffic, scripted actors, pedestrians and objects, all in path
coordinates."""

// A folder of no stage.

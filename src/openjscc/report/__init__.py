"""Records made visible: charts, strips of images, and the words for their columns.

Start with `charts.draw`, which draws a `chart.Chart` of records. `layout.arrange` sorts records into panels and curves, `style`
has one colour and marker for each system. `columns` has the words for each column of a record, `select` picks records. `strips`
are crops of received images side by side, `anchors` published points, `paired` the panels of differences.
"""

# sparkline.c, 5 functions. Here: src/latency.rs
createSparklineSequence
sparklineSequenceAddSample
freeSparklineSequence
sparklineRenderRange
sparklineRender

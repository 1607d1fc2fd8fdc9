"""Touches what small programs touch, so that the classes for it are in the archives."""
import sys
from pyspark.sql import SparkSession, functions as F

data = sys.argv[1]
spark = SparkSession.builder.appName("training").getOrCreate()
sc = spark.sparkContext
rows = [(i, i % 7, float(i) / 3, "name %d" % i) for i in range(500)]
frame = spark.createDataFrame(rows, "id long, kind long, value double, name string")
frame.write.mode("overwrite").option("header", True).csv("file:" + data + "/csv")
frame.write.mode("overwrite").parquet("file:" + data + "/parquet")
read = spark.read.option("header", True).option("inferSchema", True).csv("file:" + data + "/csv")
read.createOrReplaceTempView("things")
spark.sql("select kind, count(*) n, avg(value) a from things group by kind order by kind").collect()
other = spark.read.parquet("file:" + data + "/parquet")
read.join(other, "id").groupBy(other["kind"]).agg(F.max(other["value"]), F.stddev(read["value"])).count()
words = sc.parallelize(["a b", "b c"], 2).flatMap(lambda line: line.split()).map(lambda w: (w, 1)).reduceByKey(lambda a, b: a + b)
words.collect()
words.saveAsTextFile("file:" + data + "/text")
sc.textFile("file:" + data + "/text").count()
try:
    from pyspark.ml.clustering import KMeans
    from pyspark.ml.feature import VectorAssembler
    points = VectorAssembler(inputCols=["kind", "value"], outputCol="features").transform(other)
    KMeans(k=2, seed=1, maxIter=2).fit(points).transform(points).count()
    from pyspark.mllib.clustering import KMeans as Old
    Old.train(other.rdd.map(lambda r: [float(r.kind), r.value]), 2, maxIterations=2, seed=1)
except ImportError:
    pass  # no numpy: then no program will do this either
# The object store of the training holds nothing: reading fails, and that is all right.
for attempt in (lambda: spark.read.csv("s3://training/none/"),
                lambda: sc.textFile("s3://training/none").count(),
                lambda: frame.limit(5).write.mode("append").csv("s3://training/out/"),
                lambda: words.saveAsTextFile("s3://training/text")):
    try:
        attempt()
    except Exception as e:
        print("as expected:", str(e)[:100])
spark.stop()
